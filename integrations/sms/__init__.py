"""Text messages through Tencent Cloud SMS."""

from integrations.sms.sender import SmsConfig, TemplateForm, TencentSms

__all__ = ["SmsConfig", "TemplateForm", "TencentSms"]
