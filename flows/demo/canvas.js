// Runs once for each canvas; Gradio gives `element`, `props`, `trigger` and `watch` (gr.HTML, js_on_load).
// A pad is drawn on and shows what Python hands it; a gallery shows drawings, which can be picked.
// SVG and not pixels: strokes keep the theme's colour and are sharp at any size.
const SIDE = 256, MARGIN = 18, MAX_POINTS = 5000, MAX_STROKES = 250, MILLISECONDS_A_POINT = 14;
const still = matchMedia('(prefers-reduced-motion: reduce)').matches;

function shape(svg, stroke) {
  const line = document.createElementNS('http://www.w3.org/2000/svg', 'polyline');
  svg.appendChild(line);
  outline(line, stroke);
  return line;
}

function outline(line, [xs, ys]) {
  const points = xs.map((x, i) => `${x},${ys[i]}`);
  line.setAttribute('points', (points.length === 1 ? [points[0], points[0]] : points).join(' '));
}

// A drawing of any size, moved and scaled into the middle of the canvas, with a time for each point.
function fitted(drawing) {
  const xs = drawing.flatMap(stroke => stroke[0]), ys = drawing.flatMap(stroke => stroke[1]);
  if (!xs.length) return [];
  const [left, top] = [Math.min(...xs), Math.min(...ys)];
  const [width, height] = [Math.max(...xs) - left, Math.max(...ys) - top];
  const scale = (SIDE - 2 * MARGIN) / Math.max(width, height, 1);
  const place = (value, least, size) => Math.round(((value - least - size / 2) * scale + SIDE / 2) * 10) / 10;
  let time = 0;
  return drawing.map(stroke => [
    stroke[0].map(x => place(x, left, width)), stroke[1].map(y => place(y, top, height)),
    stroke[0].map(() => (time += MILLISECONDS_A_POINT)),
  ]);
}

// Draws strokes one after the other; returns what ends it before its time.
function replay(svg, strokes) {
  svg.replaceChildren();
  if (still) { strokes.forEach(stroke => shape(svg, stroke)); return () => {}; }
  let ended = false, begun = null, whole = 0, line = null;
  const step = now => {
    if (ended) return;
    begun ??= now;
    while (whole < strokes.length) {
      const [xs, ys, ts] = strokes[whole];
      const shown = ts.filter(time => time - strokes[0][2][0] <= now - begun).length;
      if (!shown) break;
      line ??= shape(svg, [[], []]);
      outline(line, [xs.slice(0, shown), ys.slice(0, shown)]);
      if (shown < xs.length) break;
      whole += 1;
      line = null;
    }
    if (whole < strokes.length) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
  return () => { ended = true; svg.replaceChildren(); strokes.forEach(stroke => shape(svg, stroke)); };
}

function pad() {
  const svg = element.querySelector('svg');
  let strokes = [], pen = null, origin = null, line = null, hurry = () => {};
  const add = event => {
    const box = svg.getBoundingClientRect();
    const at = (value, least, size) => Math.round(Math.min(Math.max((value - least) / size, 0), 1) * SIDE * 10) / 10;
    const x = at(event.clientX, box.left, box.width), y = at(event.clientY, box.top, box.height);
    const [xs, ys, ts] = strokes.at(-1);
    if (xs.length && xs.at(-1) === x && ys.at(-1) === y) return;
    if (strokes.reduce((sum, stroke) => sum + stroke[0].length, 0) >= MAX_POINTS) return;
    xs.push(x); ys.push(y); ts.push(Math.round(event.timeStamp - origin));
  };
  svg.addEventListener('pointerdown', event => {
    if (pen !== null || event.button !== 0 || strokes.length >= MAX_STROKES) return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    hurry(); hurry = () => {};
    // Times go on from the last stroke's: a drawing that was handed over has been drawn before now.
    if (!strokes.length) origin = event.timeStamp;
    origin ??= event.timeStamp - strokes.at(-1)[2].at(-1);
    pen = event.pointerId;
    strokes.push([[], [], []]);
    add(event);
    line = shape(svg, strokes.at(-1));
  });
  svg.addEventListener('pointermove', event => {
    if (event.pointerId !== pen) return;
    const all = event.getCoalescedEvents?.() ?? [];
    (all.length ? all : [event]).forEach(add);
    outline(line, strokes.at(-1));
  });
  const end = event => {
    if (event.pointerId !== pen) return;
    pen = null;
    props.value = JSON.stringify(strokes);
  };
  svg.addEventListener('pointerup', end);
  svg.addEventListener('pointercancel', end);
  const show = () => {
    const drawing = JSON.parse(props.value || '[]');
    const kept = JSON.stringify(strokes.slice(0, drawing.length)) === JSON.stringify(drawing);
    hurry(); hurry = () => {};
    if (kept) {  // a stroke was taken back, or all of them
      strokes = drawing;
      svg.replaceChildren();
      strokes.forEach(stroke => shape(svg, stroke));
    } else {
      strokes = fitted(drawing);
      origin = null;
      hurry = replay(svg, strokes);
    }
  };
  watch('value', show);
  show();
}

function gallery() {
  const places = [...element.querySelectorAll('figure')];
  places.forEach((place, index) => {
    place.querySelector('.shown').addEventListener('click', () => trigger('select', { index }));
    place.querySelectorAll('[data-liked]').forEach(button => button.addEventListener('click', () => {
      trigger('like', { index, liked: button.dataset.liked === 'true' });
      place.querySelectorAll('[data-liked]').forEach(each => each.setAttribute('aria-pressed', each === button));
    }));
  });
  let endings = [];
  const show = () => {
    const { drawings = [] } = JSON.parse(props.value || '{}');
    endings.forEach(end => end());
    endings = places.map((place, index) => {
      place.querySelectorAll('button').forEach(button => {
        button.disabled = index >= drawings.length;
        button.removeAttribute('aria-pressed');
      });
      return replay(place.querySelector('svg'), fitted(drawings[index] || []));
    });
  };
  watch('value', show);
  show();
}

props.mode === 'pad' ? pad() : gallery();
