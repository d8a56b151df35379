"""What the hospital's numbers are called in the back office. Durations are seconds, sizes bytes, money fen."""

from collections.abc import Mapping
from typing import Final

NAMES: Final[Mapping[str, str]] = {
    "access_token_seconds": "访问令牌有效期（秒）",
    "refresh_token_seconds": "患者登录保持时间（秒）",
    "staff_session_seconds": "工作人员登录保持时间（秒）",
    "ticket_seconds": "一次性凭证有效期（秒）",
    "mfa_ticket_seconds": "登录等待动态验证码的时间（秒）",
    "sms_code_seconds": "短信验证码有效期（秒）",
    "sms_code_tries": "短信验证码允许输错次数",
    "sms_resend_seconds": "短信验证码重发间隔（秒）",
    "sms_daily_per_phone": "每个手机号每日短信条数",
    "sms_hourly_per_address": "每个网络地址每小时短信条数",
    "login_per_minute_per_address": "每个网络地址每分钟登录次数",
    "password_tries": "工作人员密码允许输错次数",
    "password_lock_seconds": "密码锁定时间（秒）",
    "initial_password_seconds": "初始密码须在多久内修改（秒）",
    "elevation_seconds": "重新验证身份后的有效时间（秒）",
    "visits_per_hour": "每个账号每小时提交问诊次数",
    "uploads_per_hour": "每个账号每小时上传文件数",
    "media_image_bytes": "图片大小上限（字节）",
    "media_video_bytes": "视频大小上限（字节）",
    "media_file_bytes": "其他文件大小上限（字节）",
    "media_image_pixels": "图片像素上限",
    "media_link_seconds": "文件链接有效期（秒）",
    "media_orphan_seconds": "未完成上传的保留时间（秒）",
    "visit_unpaid_seconds": "未支付问诊的关闭时间（秒）",
    "visit_unanswered_seconds": "医生未接诊自动退款时间（秒）",
    "visit_silent_seconds": "无人发言自动结束时间（秒）",
    "refund_after_completion_seconds": "结束后医生可退款的期限（秒）",
    "rating_seconds": "结束后可评价的期限（秒）",
    "attachments_per_visit": "每次问诊的图片数上限",
    "identity_checks_per_day": "每个账号每日实名核验次数",
    "patients_per_account": "每个账号的就诊人数上限",
    "child_years": "须有监护人的年龄界限（周岁）",
    "practice_years": "医师独立执业年限下限（年）",
    "consult_fee_low": "咨询费下限（分）",
    "consult_fee_high": "咨询费上限（分）",
    "groups_per_doctor": "每位医生的患者分组数上限",
    "patients_per_group": "每个分组的患者数上限",
    "quick_replies_per_doctor": "每位医生的快捷回复数上限",
    "call_ring_seconds": "无人接听结束呼叫的时间（秒）",
    "call_setup_seconds": "接听后建立通话的时限（秒）",
    "call_reconnect_seconds": "通话中断后等待恢复的时间（秒）",
    "call_longest_seconds": "单次通话时长上限（秒）",
    "retain_record_years": "诊疗记录保存年限（年）",
    "retain_chat_years": "对话记录保存年限（年）",
    "retain_call_years": "音视频通话及录制保存年限（年）",
    "socket_messages_per_minute": "每个账号每分钟消息数",
    "socket_frames_per_second": "每个连接每秒请求数",
    "socket_accepts_per_second": "每个进程每秒接受的连接数",
    "heartbeat_seconds": "服务器心跳间隔（秒）",
}


def name_of(number: str) -> str:
    """The Chinese name; a number too new to have one is called as in the environment."""
    return NAMES.get(number, number.upper())
