"""Visit, order and gateway moved by everybody in every order: whatever happens, at rest the money is right."""

import asyncio
from contextlib import ExitStack
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.errors import AppError
from core.orders import service as orders
from core.ports import Refund, RefundState, TradeState, Transaction, Unavailable
from core.ratings import service as ratings
from core.visits import rules
from tests.core.consulting import FEE, QUIET, under_way

ORDER_EDGES = {
    ("pay", "pending", "paid"),
    ("close", "pending", "closed"),
    ("refund", "paid", "refunding"),
    ("refund", "closed", "refunding"),
    ("refunded", "refunding", "refunded"),
}
GIVEN_BACK = {"closed", "refunding", "refunded"}
# Where an order may stand at rest, by where its visit stands. `refunding` only when the gateway could not give it back.
AGREE = {
    "pending_payment": {"pending"},
    "waiting": {"paid"},
    "in_progress": {"paid"},
    "completed": {"paid", "refunding", "refunded"},
    "terminated": {"paid", "refunding", "refunded"},
    "cancelled": GIVEN_BACK,
    "declined": GIVEN_BACK,
    "expired": GIVEN_BACK,
    "refunded": GIVEN_BACK,
}
HELD = {"pending": 0, "paid": FEE, "refunding": FEE, "refunded": 0, "closed": 0}

ACTS = st.sampled_from(["cancel", "accept", "decline", "complete", "terminate", "refund"])
HAPPENINGS = st.sampled_from(["word", "visit_deadline", "order_deadline", "worker", "open", *ACTS.elements])
WORDS = {"reason": "UNSUITABLE", "advice": "建议线下检查"}


class Consultation(RuleBasedStateMachine):
    """One visit, from somewhere in its life; `house` and `run` are given by the test."""

    house = None
    run = None

    @initialize(stage=st.sampled_from(["submitted", "waiting", "waiting", "in_progress", "in_progress", "completed"]))
    def begin(self, stage):
        self.dying = False
        self.arrived = False
        self.abnormal = False
        self.paid = stage != "submitted"
        self.case = self.run(getattr(self.house, stage))

    def do(self, *works):
        """Run what happens at the same moment; refusals are answers. A dying process runs none of its duties."""

        async def at_once():
            answers = await asyncio.gather(*works, return_exceptions=True)
            if not self.dying:
                await under_way()
            return answers

        with ExitStack() as stack:
            if self.dying:
                for name, nothing in (("run_now", _nothing), ("kick", lambda collection, id_: None)):
                    stack.enter_context(patch.object(self.house.ctx.duties, name, nothing))
            answers = self.run(at_once)
        self.dying = False
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, (AppError, Unavailable)):
                raise answer

    def happening(self, name):
        """The coroutine of something that happens."""
        case = self.case
        if name == "word":
            return self.payment_word()
        if name == "open":
            return case.open_payment()
        if name == "worker":
            return self.house.ctx.duties.run_due()
        if name == "visit_deadline":
            return self.house.pass_deadline("visits", case.id)
        if name == "order_deadline":
            return self.house.pass_deadline("orders", case.order_id)
        return case.act(case.patient if name == "cancel" else case.doctor, name, **WORDS)

    async def payment_word(self):
        """The notification of the payment, if there was one; again and again if it is called again and again."""
        if self.paid:
            now = self.house.ctx.clock.now()
            said = Transaction(self.case.order_id, "4200000001", TradeState.SUCCESS, FEE, "o-1", now)
            await orders.record_payment(self.house.ctx, said)

    @rule(happening=HAPPENINGS)
    def something_happens(self, happening):
        self.do(self.happening(happening))

    @rule(first=HAPPENINGS, second=HAPPENINGS)
    def two_things_happen_at_once(self, first, second):
        self.do(self.happening(first), self.happening(second))

    @rule(act=st.sampled_from(["accept", "complete", "refund"]))
    def the_doctor_goes_on(self, act):
        self.do(self.happening(act))

    @rule(refund=st.booleans(), reason=st.sampled_from(rules.TERMINATION_REASONS))
    def the_doctor_terminates(self, refund, reason):
        self.do(self.case.act(self.case.doctor, "terminate", reason=reason, advice="建议线下检查", refund=refund))

    @rule()
    def the_patient_pays(self):
        self.do(self.case.open_payment())
        self.paid = self.run(lambda: self.house.pay(self.case.order_id)) or self.paid

    @rule()
    def the_patient_rates(self):
        self.do(ratings.rate(self.house.ctx, caller=self.case.patient, visit_id=self.case.id, stars=5, text=""))

    @rule(switched=st.sampled_from([{"unavailable_calls": 1}, {"unavailable_calls": 4}, {"hold_refunds": True}, QUIET]))
    def the_gateway_behaves(self, switched):
        self.run(lambda: self.house.faults(**switched))

    @rule(state=st.sampled_from(["SUCCESS", "SUCCESS", "ABNORMAL"]), told=st.integers(0, 2))
    def a_refund_ends(self, state, told):
        if self.run(lambda: self.house.settle_refund(self.case.order_id, state)):
            self.arrived, self.abnormal = state == "SUCCESS", state == "ABNORMAL"
        if self.arrived or self.abnormal:
            ended = RefundState.SUCCESS if self.arrived else RefundState.ABNORMAL
            said = Refund(f"{self.case.order_id}-R", self.case.order_id, "5030", ended, FEE, None)
            self.do(*(orders.record_refund(self.house.ctx, said) for _ in range(told)))

    @rule()
    def the_process_dies_in_what_it_does_next(self):
        self.dying = True

    # --- what always holds -----------------------------------------------------------------------

    @invariant()
    def every_state_was_reached_by_legal_moves(self):
        visit, order = self.run(self.case.visit), self.run(self.case.order)
        status = visit["history"][0]["frm"]
        for step in visit["history"]:
            assert step["frm"] == status
            if step["frm"] != step["to"]:
                move = rules.MOVES[step["act"]]
                assert step["frm"] in move.frm
                assert (step["to"], step["role"] in move.roles) == (move.to, True)
            status = step["to"]
        assert visit["status"] == status
        if order is None:
            return
        status = "pending"
        for step in order["history"]:
            assert (step["act"], step["frm"], step["to"]) in ORDER_EDGES
            assert step["frm"] == status
            status = step["to"]
        assert order["status"] == status

    def teardown(self):
        if hasattr(self, "case"):
            self.run(self.come_to_rest)
            self.run(self.look)

    async def come_to_rest(self):
        """The gateway is back and ends its refunds; every question is asked and every duty run."""
        await self.house.faults(**QUIET)
        await self.house.rest()
        await self.house.settle_refund(self.case.order_id, "SUCCESS")
        await self.house.rest()
        await self.house.pass_deadline("orders", self.case.order_id)
        await self.house.rest()

    async def look(self):
        visit, order = await self.case.visit(), await self.case.order()
        ledger = await self.house.ledger(self.case.order_id)
        assert order["status"] in AGREE[visit["status"]]
        assert ledger["held"] == HELD[order["status"]]
        assert (ledger["paid"] > 0) is (order["paid_at"] is not None)
        assert visit["duties"] == []
        owed = [(one["kind"], one["state"]) for one in order["duties"]]
        if order["status"] == "refunding":
            assert (self.abnormal, owed) == (True, [("order.refund", "dead")])
        else:
            assert owed in ([], [("order.refund", "dead")] if self.abnormal else [])
        acts = [step["act"] for step in visit["history"] if rules.announcement(step["act"], FEE)]
        said = [one["event"].removeprefix("visit.") for one in await self.case.said() if "event" in one]
        assert said == (acts if visit["submitted_at"] else [])


async def _nothing(collection, id_):
    return None


@pytest.mark.feature("X1.2")
@pytest.mark.timeout(180)
def test_whatever_happens_visit_order_and_gateway_agree_at_rest(house, io_loop):
    Consultation.house = house
    Consultation.run = staticmethod(lambda work: io_loop.run_sync(work, timeout=30))
    bounds = settings(
        max_examples=30,
        stateful_step_count=16,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],  # what fails is told as it was found: making it shorter takes minutes
    )
    run_state_machine_as_test(Consultation, settings=bounds)
