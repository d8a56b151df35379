// One of the two as their own program would be: it speaks the hospital's websocket, offers when the call is answered,
// and offers anew, with a higher generation, whenever its leg is lost.

const AGAIN_MS = 250;
let place;  // {url, token, device}: whom to speak to, and as whom
let socket, account, call, stream;
let generation = 0, offering = false;
let policy = 'all';  // 'relay': through TURN alone
let route = null;  // where an answer is told the address of a line that leads to the server
const waiting = new Map(), told = [], states = [];
const arrived = new EventTarget();

// --- the line

async function enter(url, token, device, settings = {}) {
  ({policy = 'all', route = null} = settings);
  place = {url, token, device};
  await dial();
}

async function dial() {
  const line = socket = new WebSocket(place.url);
  line.onmessage = ({data}) => [JSON.parse(data)].flat().forEach(take);
  line.onclose = () => {
    for (const {refuse} of waiting.values()) refuse(new Error('closed'));
    waiting.clear();
  };
  await new Promise((done, fail) => {
    line.onopen = done;
    line.onerror = () => fail(new Error('no connection'));
  });
  const said = await request('hello', {token: place.token, device: place.device, client: 'page'});
  account = said.account.id;
}

function request(op, args) {
  const id = crypto.randomUUID();
  return new Promise((settle, refuse) => {
    waiting.set(id, {settle, refuse});
    socket.send(JSON.stringify({id, op, args}));
  });
}

function take(one) {
  if ('re' in one) {
    const {settle, refuse} = waiting.get(one.re);
    waiting.delete(one.re);
    if (one.ok) settle(one.data);
    else refuse(new Error(one.error.code));
    return;
  }
  told.push(one);
  arrived.dispatchEvent(new Event('told'));
  if (one.ev === 'call.state') follow(one.data);
}

// The first event of this name, ever, whose data has these values.
async function hear(name, wanted = {}) {
  const fits = ({ev, data}) => ev === name && Object.entries(wanted).every(([key, value]) => data[key] === value);
  for (;;) {
    const found = told.find(fits);
    if (found) return found.data;
    await new Promise(done => arrived.addEventListener('told', done, {once: true}));
  }
}

// --- the call

async function invite(conversation, ask) {
  stream = await source(ask);
  call = await request('call.invite', {conversation, media: 'video'});
  return call;
}

// Ringing: the own picture is there before the answer is given.
async function ring(ask) {
  call = await hear('call.ringing');
  stream = await source(ask);
  return call;
}

async function answer(version) {
  follow(await request('call.accept', {call: call.id, consent: {version}}));
}

async function hangUp() {
  follow(await request('call.hangup', {call: call.id}));
}

// What the server says of the call; the call with the higher version is the newer.
function follow(shown) {
  if (!call || shown.id !== call.id || shown.version < call.version) return;
  call = shown;
  if (call.state === 'ringing') return;
  if (states.at(-1) !== call.state) states.push(call.state);
  if (call.state === 'ended') {
    connection?.close();
    stream.getTracks().forEach(track => track.stop());
    return;
  }
  if (isMissing()) talk();
}

// Whether the own leg is to be offered.
function isMissing() {
  return ['none', 'lost'].includes(call.members.find(member => member.account === account).leg);
}

// Offer until somebody answers and has not gone meanwhile. Only the answer names the ICE servers: candidates are gathered after it, and follow.
async function talk() {
  if (offering) return;
  offering = true;
  try {
    while (call.state !== 'ended' && socket.readyState === WebSocket.OPEN && (!await offered() || isMissing()))
      await new Promise(done => setTimeout(done, AGAIN_MS));
  } finally {
    offering = false;
  }
}

async function offered() {
  renew(stream);
  const own = connection, leg = {call: call.id, generation: ++generation};
  const offer = await own.createOffer();
  let said;
  try {
    said = await request('call.offer', {...leg, sdp: offer.sdp});
  } catch (error) {
    if (!['unavailable', 'closed'].includes(error.message)) throw error;
    return false;
  }
  own.setConfiguration({...BUNDLED, iceServers: said.ice_servers, iceTransportPolicy: policy});
  own.onicecandidate = ({candidate}) => {
    if (candidate && !route && connection === own && socket.readyState === WebSocket.OPEN)
      request('call.candidates', {...leg, candidates: [candidate.toJSON()]}).catch(() => {});
  };
  await own.setLocalDescription(offer);
  const sdp = route ? await (await fetch(route, {method: 'POST', body: said.sdp})).text() : said.sdp;
  await own.setRemoteDescription({type: 'answer', sdp});
  // What was told before the answer may come after it; by its version the truth puts an end to that.
  follow(await request('call.state', {call: call.id}));
  arrived.dispatchEvent(new Event('offered'));
  return true;
}

// Wait until this generation of the own leg, or a later one, is answered.
async function renewed(wanted) {
  while (generation < wanted || offering)
    await new Promise(done => arrived.addEventListener('offered', () => setTimeout(done), {once: true}));
}

// --- another network

function drop() {
  socket.close();
}

// The addresses are others now: the truth is asked for, and the leg offered anew.
async function comeBack() {
  await dial();
  call = await request('call.state', {call: call.id});
  await talk();
}
