"""The whole consultation as a sequence of steps, acted by two people against a running hospital.

Each step does what its name says and raises `NotAsPromised` (or `Refused`) when the hospital does not. The walkthrough
prints them with their times; the journeys act single parts of the same story.
"""

import io
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import av
import httpx
from PIL import Image

from scripts.acting import Line, NotAsPromised, Outside, Person, until

DEMO_PATIENT_PHONE: Final = "19900090001"
CONSENTED: Final = ("consult_notice", "sensitive_data")


def require(condition: object, said: str) -> None:
    """`NotAsPromised` unless the condition holds."""
    if not condition:
        raise NotAsPromised(said)


def picture(width: int = 640, height: int = 480) -> bytes:
    """A JPEG as a phone would upload it."""
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


def clip(seconds: float = 1.0) -> bytes:
    """A short MP4 without sound."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(int(seconds * 10)):
            frame = av.VideoFrame.from_image(  # type: ignore[no-untyped-call]  # PyAV leaves it untyped
                Image.linear_gradient("L").resize((160, 120)).convert("RGB")
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def valid_id_number(birth_date: str = "19900307", sequence: int = 1, area: str = "110000") -> str:
    """A resident ID number with a right check character (GB 11643) that was never issued."""
    digits = f"{area}{birth_date}{sequence:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    total = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
    return digits + "10X98765432"[total % 11]


@dataclass
class Stage:
    """Who takes part, and what the steps leave for those after them."""

    http: httpx.AsyncClient
    url: str
    outside: Outside
    doctor_login: str
    doctor_password: str
    patient: Person = field(init=False)
    doctor: Person = field(init=False)
    found: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.patient = Person(self.http, self.url)
        self.doctor = Person(self.http, self.url)

    async def close(self) -> None:
        """Hang up what is still open."""
        for line in self.lines.values():
            await line.close()


async def patient_logs_in(stage: Stage) -> None:
    """P: one tap in WeChat signs up or in."""
    await stage.patient.login_by_wechat(stage.outside, stage.found.setdefault("phone", DEMO_PATIENT_PHONE))
    require(stage.patient.account["role"] == "patient", "a patient's account")


async def doctor_logs_in(stage: Stage) -> None:
    """D1.1: by account and password."""
    await stage.doctor.login_by_password(stage.doctor_login, stage.doctor_password)
    require(stage.doctor.account["role"] == "doctor", "a doctor's account")
    await stage.doctor.call("PUT", "/desk/duty", {"online": True})


async def patient_finds_the_doctor(stage: Stage) -> None:
    """P1.1: by name, with fee and state."""
    doctor = await stage.patient.get(f"/doctors/{stage.doctor.account['id']}")
    listed = await stage.patient.get("/doctors", q=doctor["name"], service="consult")
    require(doctor["id"] in [one["id"] for one in listed["items"]], "the doctor is found by name")
    require(doctor["fees"]["consult"] > 0, "the price is shown before paying (R6-8)")
    stage.found["doctor"] = doctor


async def patient_adds_a_family_member(stage: Stage) -> None:
    """P1.2: checked and real-name verified."""
    listed = await stage.patient.get("/patients")
    birth = f"19{secrets.randbelow(40) + 50}0{secrets.randbelow(9) + 1}1{secrets.randbelow(9)}"
    form = {
        "name": "演示家属",
        "id_type": "01",
        "id_number": valid_id_number(birth, secrets.randbelow(499) * 2 + 1),
        "gender": "1",
        "birth_date": f"{birth[:4]}-{birth[4:6]}-{birth[6:]}",
        "phone": "19900098888",
        "relation": "other",
    }
    for old in listed["items"]:
        if old["relation"] == "other":
            await stage.patient.call("DELETE", f"/patients/{old['id']}")
    created = await stage.patient.post("/patients", form)
    verified = await stage.patient.post(f"/patients/{created['id']}/verify")
    require(verified["verification"]["state"] == "verified", "real-name verified")
    stage.found["patient"] = verified


async def patient_uploads_pictures(stage: Stage) -> None:
    """P1.3: two images, with thumbnails."""
    images = [await stage.patient.upload(picture(640 + 10 * n, 480), "image/jpeg") for n in range(2)]
    require(all(image["kind"] == "image" and image["thumbnail"] for image in images), "images with thumbnails")
    stage.found["images"] = images


async def patient_describes_the_illness(stage: Stage) -> None:
    """P1.4, P1.5: a visit with its order, awaiting payment."""
    types = await stage.patient.get("/consult-types")
    texts = [await stage.patient.get(f"/consent-texts/{kind}") for kind in CONSENTED]
    form = {
        "kind": "consult",
        "doctor_id": stage.found["doctor"]["id"],
        "patient_id": stage.found["patient"]["id"],
        "consult_type_id": types["items"][0]["id"],
        "condition": {
            "description": "近一周活动后胸闷，休息后缓解",
            "duration": "一周",
            "history": "高血压五年",
            "allergies": "青霉素",
        },
        "attachments": [image["id"] for image in stage.found["images"]],
        "consents": [{"kind": text["kind"], "version": text["version"]} for text in texts],
    }
    key = secrets.token_hex(16)
    visit = await stage.patient.post("/visits", form, key=key)
    again = await stage.patient.post("/visits", form, key=key)
    require(visit["id"] == again["id"], "a repeated submission is the same visit")
    require(visit["status"] == "pending_payment" and visit["order"]["status"] == "pending", "an order to be paid")
    require(visit["order"]["amount"] == stage.found["doctor"]["fees"]["consult"], "the price that was shown")
    stage.found["visit"] = visit


async def patient_pays(stage: Stage) -> None:
    """P1.5, P1.6: WeChat's notification submits the visit, and the doctor is told at once."""
    visit = stage.found["visit"]
    stage.lines["doctor"] = await stage.doctor.connect()
    stage.lines["patient"] = await stage.patient.connect()
    order = visit["order"]["id"]
    parameters = await stage.patient.post(
        f"/orders/{order}/payment", {"channel": "wechat_jsapi"}, key=secrets.token_hex(16)
    )
    require(parameters["package"].startswith("prepay_id="), "parameters of wx.requestPayment")
    await stage.outside.pay(order)
    await stage.lines["doctor"].next_event("visit.updated", visit=visit["id"], status="waiting")
    paid = await stage.patient.get(f"/orders/{order}")
    require(paid["status"] == "paid", "the order is paid")


async def doctor_accepts(stage: Stage) -> None:
    """D2.1, D2.2, D5.8: from the home page to the illness to in progress."""
    visit = stage.found["visit"]
    summary = await stage.doctor.get("/desk/summary")
    require(summary["waiting"] >= 1, "the home page counts who waits")
    waiting = await stage.doctor.get("/visits", status="waiting")
    require(visit["id"] in [one["id"] for one in waiting["items"]], "the visit is in the waiting list")
    detail = await stage.doctor.get(f"/visits/{visit['id']}")
    require(detail["condition"]["allergies"] == "青霉素", "the doctor reads the illness")
    require(len(detail["attachments"]) == 2, "and sees the pictures")
    thumbnail = await stage.doctor.send("GET", f"/media/{detail['attachments'][0]['id']}/thumbnail")
    require(thumbnail.status_code == 200, "the thumbnail opens for the doctor")
    accepted = await stage.doctor.post(f"/visits/{visit['id']}/accept")
    require(accepted["status"] == "in_progress", "accepted")
    await stage.lines["patient"].next_event("visit.updated", visit=visit["id"], status="in_progress")

    async def announced() -> bool:
        return len((await stage.patient.get(f"/visits/{visit['id']}/messages"))["items"]) == 2

    # A duty says it in the chat, and may come after the answer when another process has begun it.
    await until(announced)


async def they_chat(stage: Stage) -> None:
    """P1.8, D5.1: text, image, video and emoji, both ways, in order."""
    conversation = stage.found["visit"]["conversation"]
    patient, doctor = stage.lines["patient"], stage.lines["doctor"]
    first = await patient.say(conversation, "医生您好，我最近胸闷")
    heard = await doctor.next_event("message.created", conversation=conversation, seq=first["seq"])
    require(heard["body"] == {"text": "医生您好，我最近胸闷"}, "the doctor reads the text")
    video = await stage.patient.upload(clip(), "video/mp4")
    require(video["kind"] == "video" and video["duration"] > 0, "a video with its length")
    sent = [
        await patient.request(
            "message.send", conversation=conversation, kind="image", body={"media": stage.found["images"][0]["id"]}
        ),
        await patient.request("message.send", conversation=conversation, kind="video", body={"media": video["id"]}),
        await doctor.request("message.send", conversation=conversation, kind="emoji", body={"code": "smile"}),
        await doctor.say(conversation, "建议先到医院做心电图检查"),
    ]
    seqs = [first["seq"], *(one["seq"] for one in sent)]
    require(seqs == sorted(set(seqs)), "numbers that rise")
    await patient.next_event("message.created", conversation=conversation, seq=sent[-1]["seq"])
    part = await stage.doctor.send("GET", f"/media/{video['id']}", headers={"Range": "bytes=0-99"})
    require(part.status_code == 206 and len(part.content) == 100, "the doctor's player reads a range")
    stage.found["last_seq"] = sent[-1]["seq"]


async def nothing_is_lost_over_a_reconnect(stage: Stage) -> None:
    """P1.8: what was said meanwhile comes by sync, and a repeated send is the same message."""
    conversation = stage.found["visit"]["conversation"]
    await stage.lines["patient"].close()
    said = await stage.lines["doctor"].say(conversation, "记得按时服药", id="while-away")
    again = await stage.lines["doctor"].say(conversation, "记得按时服药", id="while-away")
    require(again["seq"] == said["seq"] and again["dup"], "a repeat gets the first answer")
    line = stage.lines["patient"] = await stage.patient.connect()
    caught_up = await line.request("sync", cursors={conversation: stage.found["last_seq"]}, limit=50)
    messages = caught_up["conversations"][0]["messages"]
    require([one["seq"] for one in messages] == [said["seq"]], "exactly what was missed")
    history = await stage.patient.get(f"/visits/{conversation}/messages", limit=100)
    require([one["seq"] for one in history["items"]] == list(range(1, said["seq"] + 1)), "the whole history")


async def doctor_completes(stage: Stage) -> None:
    """The visit ends; nothing more can be said."""
    visit = stage.found["visit"]
    ended = await stage.doctor.post(f"/visits/{visit['id']}/complete")
    require(ended["status"] == "completed", "completed")
    await stage.lines["patient"].next_event("visit.updated", visit=visit["id"], status="completed")


async def patient_rates(stage: Stage) -> None:
    """P1.11: once, and it counts."""
    visit, doctor = stage.found["visit"], stage.found["doctor"]
    before = (await stage.patient.get(f"/doctors/{doctor['id']}"))["rating"]["count"]
    rating = await stage.patient.post(f"/visits/{visit['id']}/rating", {"stars": 5, "text": "解释得很清楚"})
    require(rating["stars"] == 5, "rated")

    async def is_counted() -> bool:
        page = await stage.patient.get(f"/doctors/{doctor['id']}")
        return bool(page["rating"]["count"] > before)

    await until(is_counted)


Step = Callable[[Stage], Awaitable[None]]

CONSULTATION: Final[tuple[Step, ...]] = (
    patient_logs_in,
    doctor_logs_in,
    patient_finds_the_doctor,
    patient_adds_a_family_member,
    patient_uploads_pictures,
    patient_describes_the_illness,
    patient_pays,
    doctor_accepts,
    they_chat,
    nothing_is_lost_over_a_reconnect,
    doctor_completes,
    patient_rates,
)
