"""What scripts/server prints when the hospital is ready: where it is, who may log in, and how to play the outside."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from scripts.demo import DEMO_PASSWORDS, read

STOPPING: Final = "\n正在停止，数据已保存 · Stopping, nothing is lost …"
STOPPED: Final = "已停止 · Stopped"
ROLES: Final[Mapping[str, str]] = {
    "doctor": "医生",
    "pharmacist": "药师",
    "nurse": "护士",
    "admin": "系统管理员",
    "security_admin": "安全管理员",
    "auditor": "审计管理员",
    "regulator": "监管专员",
}


def text(url: str, simulators: Mapping[str, str], folder: Path, *, demo: bool) -> str:
    """Chinese and English side by side; `simulators` holds their addresses by name."""
    lines = [
        "",
        "互联网医院已就绪 · The internet hospital is ready",
        "",
        f"  地址 Address       {url}",
        f"  接口文档 API docs  {url}/api/docs/",
        f"  数据 Data          {folder}",
        f"  日志 Logs          {folder / 'logs'}",
        "",
        *(_logins(simulators) if demo else []),
        "外部系统由模拟器扮演 · The outside world is simulated",
        f"  支付订单 Pay an order   curl -X POST {simulators['wechat_pay']}/_control/pay/<order id>",
        f"  短信验证码 SMS code     curl '{simulators['sms']}/_control/sms?phone=<phone>&template=login_code'",
        f"  消息提醒 Notices        curl '{simulators['wechat_login']}/_control/messages?app=patient&phone=<phone>'",
        "",
        "按 Ctrl-C 停止 · Press Ctrl-C to stop",
    ]
    return "\n".join(lines)


def first_of_each_role() -> list[tuple[str, str, str]]:
    """Role, account and name of one person of the demo data for each staff role."""
    found: dict[str, tuple[str, str, str]] = {}
    for person in (*read("doctors"), *read("pharmacists"), *read("nurses"), *read("officers")):
        role = person.get("role", "doctor")
        found.setdefault(role, (role, person["account"], person["name"]))
    return [found[role] for role in ROLES]


def _logins(simulators: Mapping[str, str]) -> list[str]:
    staff = [
        f"  {role:<15} {account:<15} {DEMO_PASSWORDS[role]:<22} {ROLES[role]} {name}"
        for role, account, name in first_of_each_role()
    ]
    codes = f"{simulators['wechat_login']}/_control/codes"
    phones = [owner["phone"] for owner in read("patients")]
    return [
        "演示账号（账号、密码）· Demo logins (account, password): POST /api/v1/auth/login",
        *staff,
        f"  patient         {', '.join(phones)}  患者：短信验证码或微信登录 by SMS code or WeChat",
        f'  微信登录码 WeChat codes curl -d \'{{"phone": "{phones[0]}"}}\' {codes}',
        "",
    ]
