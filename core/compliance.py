"""The legal rules this software keeps, by their ids, and the pure pieces of them that several features share.

`RULES` is what `docs/compliance.md` is made from: the sentence is what the software does, the basis the text it
follows (short names: 诊疗办法, 医院办法 = 国卫医发〔2018〕25号 附件1, 2; 监管细则 = 国卫办医发〔2022〕2号;
个保法 = 个人信息保护法; 等保 = GB/T 22239-2019 第三级).

Tests that show a rule carry its id, `@pytest.mark.rule("R2-1")`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final


@dataclass(frozen=True)
class Rule:
    """One legal rule: what the software does about it, and what says so."""

    sentence: str
    basis: str


RULES: Final[Mapping[str, Rule]] = {
    "R1-4": Rule("医生可随时终止互联网诊疗并建议线下就诊，立即生效", "监管细则"),
    "R1-8": Rule("图文咨询不产生诊断和处方，状态机中没有这样的出口", "监管细则；各省咨询与诊疗分开上报"),
    "R2-1": Rule("就诊人经姓名与证件号码实名核验一致后方可提交；核验出错或查无记录均不视为通过", "监管细则"),
    "R2-2": Rule(
        "医师具有三年以上独立临床工作经验、经其注册机构同意且已备案的，方可提供服务", "诊疗办法第25条；医院办法第28条"
    ),
    "R2-5": Rule("公开医师姓名、职称、执业信息，医疗机构执业许可证和投诉电话", "诊疗办法第27条"),
    "R2-7": Rule("医师收入只统计咨询费，不含也不依据药品费用", "监管细则"),
    "R2-8": Rule("执业证书过期的医师不能上线，也不出现在可选医生中", "监管细则第7条"),
    "R3-1": Rule("每次提交前患者须同意现行版本的知情同意书，并留存版本、文本摘要、时间、地址和设备", "医院办法第19条"),
    "R3-3": Rule("未满十四周岁的就诊人须有实名监护人，并适用专门的儿童个人信息规则", "个保法第28、31条"),
    "R3-4": Rule("处理医疗健康信息须取得单独同意", "个保法第28、29条"),
    "R3-5": Rule(
        "音视频通话录制前先告知并取得同意，留存版本、文本摘要、时间和设备；录制中双方可见", "个保法；监管细则"
    ),
    "R5-1": Rule("诊疗记录、同意与凭证自最后一次就诊起保存不少于15年", "监管细则；医疗机构病历管理规定"),
    "R5-2": Rule("图文对话和音视频过程记录保存不少于3年", "监管细则"),
    "R5-4": Rule("网络与安全日志保存不少于六个月，审计记录保存不少于一年", "网络安全法第21条"),
    "R5-7": Rule("全程留痕、可追溯：每次状态变化都有操作人、角色、时间和原因", "诊疗办法第24条"),
    "R5-8": Rule("患者可在线查询本人的病历、处置与对话记录，每次查阅均留痕", "医院办法第22条；个保法第45条"),
    "R6-3": Rule("系统、安全、审计三类管理员相互分立", "等保"),
    "R6-4": Rule("工作人员以两种因素登录，失败锁定；敏感操作前重新验证身份，会话可查看、可撤销", "等保 8.1.4.1"),
    "R6-5": Rule("身份与医疗信息加密保存，列表与日志中脱敏", "等保；个保法第51条"),
    "R6-8": Rule("支付前公示价格", "监管细则"),
    "R6-9": Rule("就诊结束后患者可以评价", "医院办法"),
}

ADULT_YEARS: Final = 18  # 民法典第17条


def age_on(birth_date: str, day: date) -> int:
    """Whole years lived on `day` by somebody born on `birth_date` (`YYYY-MM-DD`); negative before birth.

    An age is reached on the birthday; born on 29 February, on 1 March of common years.
    """
    born = date.fromisoformat(birth_date)
    return day.year - born.year - ((day.month, day.day) < (born.month, born.day))


def years_later(moment: datetime, years: int) -> datetime:
    """The same day so many years on; of 29 February 1 March, so that nothing is kept too short."""
    try:
        return moment.replace(year=moment.year + years)
    except ValueError:
        return moment.replace(year=moment.year + years, month=3, day=1)


def mask_name(name: str) -> str:
    """`张*`: the first character only, whatever the length (R6-5)."""
    return f"{name[:1]}*" if name else ""


def mask_number(number: str) -> str:
    """An ID or licence number as its first 6 and last 4 characters; of a short one only the last 2 (R6-5)."""
    if len(number) > 12:
        return f"{number[:6]}{'*' * (len(number) - 10)}{number[-4:]}"
    return f"{'*' * max(len(number) - 2, 0)}{number[-2:]}"


def mask_phone(phone: str) -> str:
    """`138****1234` (R6-5)."""
    return f"{phone[:3]}****{phone[-4:]}" if len(phone) >= 11 else "*" * len(phone)
