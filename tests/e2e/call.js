const BUNDLED = {bundlePolicy: 'max-bundle'};
let connection, flashing;

// Camera and microphone, or `flashes`.
async function source(ask) {
  return ask === 'flashes' ? flashing ??= await flashes() : navigator.mediaDevices.getUserMedia(ask);
}

// A new connection that sends this stream and shows what comes; it replaces the one before.
function renew(stream) {
  if (connection) connection.close();
  connection = new RTCPeerConnection(BUNDLED);
  for (const track of stream.getTracks()) connection.addTrack(track, stream);
  const far = new MediaStream();
  document.getElementById('far').srcObject = far;
  connection.ontrack = ({track}) => far.addTrack(track);
}

// An offer with all candidates.
async function offer(ask) {
  renew(await source(ask));
  await connection.setLocalDescription();
  while (connection.iceGatheringState !== 'complete')
    await new Promise(done => connection.addEventListener('icegatheringstatechange', done, {once: true}));
  return connection.localDescription.sdp;
}

// A stream that is white and loud for a tenth of every second, by one clock.
async function flashes() {
  const sound = new AudioContext({sampleRate: 48000, latencyHint: 'interactive'});
  await sound.resume();
  const tone = sound.createOscillator(), loudness = sound.createGain(), ear = sound.createMediaStreamDestination();
  loudness.gain.value = 0;
  tone.frequency.value = 1000;
  tone.connect(loudness).connect(ear);
  tone.start();
  const begin = Math.ceil(sound.currentTime) + 1;
  for (let second = begin; second < begin + 120; second++) {
    loudness.gain.setValueAtTime(1, second);
    loudness.gain.setValueAtTime(0, second + 0.1);
  }
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [320, 240];
  const painter = canvas.getContext('2d', {alpha: false});
  const paint = () => {
    painter.fillStyle = sound.currentTime % 1 < 0.1 ? '#fff' : '#000';
    painter.fillRect(0, 0, 320, 240);
    painter.fillStyle = '#888';  // something that changes, so that every frame is sent
    painter.fillRect(performance.now() % 300, 0, 4, 4);
    requestAnimationFrame(paint);
  };
  paint();
  return new MediaStream([...canvas.captureStream(30).getVideoTracks(), ...ear.stream.getAudioTracks()]);
}

// So many seconds of `flashes` as this browser itself has them, as a WebM file in base64.
async function own(seconds) {
  const recorder = new MediaRecorder(await source('flashes'), {mimeType: 'video/webm;codecs=vp8,opus'});
  const parts = [];
  recorder.ondataavailable = ({data}) => parts.push(data);
  const stopped = new Promise(done => { recorder.onstop = done; });
  recorder.start();
  setTimeout(() => recorder.stop(), 1000 * seconds);
  await stopped;
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  return btoa(Array.from(bytes, byte => String.fromCharCode(byte)).join(''));
}

async function accept(sdp) {
  await connection.setRemoteDescription({type: 'answer', sdp});
}

// What has come from the far side.
async function received() {
  const found = {};
  for (const one of (await connection.getStats()).values()) {
    if (one.type === 'inbound-rtp') found[one.kind] = one;
    if (one.type === 'transport') found.transport = one;
  }
  return found;
}

// Wait until the far side's picture has moved: two different frames, both with something on them.
async function moves() {
  const video = document.getElementById('far');
  const canvas = new OffscreenCanvas(64, 48);
  const painter = canvas.getContext('2d', {willReadFrequently: true});
  const look = () => new Promise(done => video.requestVideoFrameCallback(() => {
    painter.drawImage(video, 0, 0, 64, 48);
    done([...painter.getImageData(0, 0, 64, 48).data].filter((_, place) => place % 4 === 1));
  }));
  const first = await look();
  for (let frame = 0; frame < 200; frame++) {
    const next = await look();
    if (Math.max(...next) - Math.min(...next) > 20 && next.some((value, place) => Math.abs(value - first[place]) > 20))
      return {frame, width: video.videoWidth, height: video.videoHeight};
  }
  throw new Error('the picture stands still');
}

// Wait until so many of the far side's pictures have been shown.
async function frames(count) {
  while ((await received()).video.framesDecoded < count) await new Promise(done => setTimeout(done, 50));
}

// Wait until sound has been heard that is no silence.
async function sounds() {
  for (let tries = 0; tries < 200; tries++) {
    const {audio} = await received();
    if (audio && audio.totalAudioEnergy > 0.0001) return audio.totalAudioEnergy;
    await new Promise(done => setTimeout(done, 50));
  }
  throw new Error('nothing is heard');
}

// Wait until nothing of the far side's picture comes any more.
async function still() {
  let seen = -1;
  for (;;) {
    const {video} = await received();
    if (video.packetsReceived === seen) return;
    seen = video.packetsReceived;
    await new Promise(done => setTimeout(done, 500));
  }
}

// How this side reaches the server: the kind of its candidate, and the ICE server that gave it.
async function path() {
  const stats = await connection.getStats();
  const {transport} = await received();
  const {candidateType, url} = stats.get(stats.get(transport.selectedCandidatePairId).localCandidateId);
  const [server] = connection.getConfiguration().iceServers;
  return {type: candidateType, url, username: server?.username};
}
