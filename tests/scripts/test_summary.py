from pathlib import Path

from scripts.demo import DEMO_PASSWORDS
from scripts.summary import ROLES, first_of_each_role, text

SIMULATORS = {name: f"http://127.0.0.1:930{n}" for n, name in enumerate(("wechat_pay", "wechat_login", "sms"), 1)}


def test_everybody_who_works_here_can_log_in_by_what_is_printed():
    printed = text("http://127.0.0.1:8080", SIMULATORS, Path("/var/h"), demo=True)
    assert [role for role, _, _ in first_of_each_role()] == list(ROLES)
    for role, account, _ in first_of_each_role():
        line = next(line for line in printed.splitlines() if line.startswith(f"  {role} "))
        assert line.split()[1:3] == [account, DEMO_PASSWORDS[role]]


def test_it_says_where_to_look_how_to_pay_and_how_to_stop():
    printed = text("http://127.0.0.1:8080", SIMULATORS, Path("/var/h"), demo=True)
    assert "http://127.0.0.1:8080/api/docs/" in printed
    assert "curl -X POST http://127.0.0.1:9301/_control/pay/<order id>" in printed
    assert "curl 'http://127.0.0.1:9303/_control/sms?phone=<phone>&template=login_code'" in printed
    assert printed.splitlines()[-1] == "按 Ctrl-C 停止 · Press Ctrl-C to stop"


def test_without_demo_data_no_login_is_promised():
    printed = text("http://127.0.0.1:8080", SIMULATORS, Path("/var/h"), demo=False)
    assert not any(password in printed for password in DEMO_PASSWORDS.values())
