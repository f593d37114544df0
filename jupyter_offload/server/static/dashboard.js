// Shows one dashboard in a sandboxed frame and renews its ticket while the page is open.
'use strict';

const RENEW_MS = 120_000;
const RETRY_MS = 5_000;
const { ticketUrl, baseUrl } = document.body.dataset;
const frame = document.getElementById('frame');
const plot = document.getElementById('plot');
const message = document.getElementById('message');
let shown = '';

function cookie(name) {
  const found = document.cookie.split('; ').find(pair => pair.startsWith(`${name}=`));
  return found ? decodeURIComponent(found.slice(name.length + 1)) : '';
}

async function askTicket() {
  const answer = await fetch(ticketUrl, {
    method: 'POST',
    headers: { 'X-XSRFToken': cookie('_xsrf') },
    credentials: 'same-origin'
  });
  const body = await answer.json();
  if (!answer.ok) {
    throw new Error([body.detail, body.hint].filter(Boolean).join(' '));
  }
  return body.path;
}

function show(path) {
  // The path stays the same while the ticket is renewed in time; another one means that the page in the frame is dead.
  const target = baseUrl + path + plot.value;
  if (target !== shown) {
    shown = target;
    frame.src = target;
  }
}

async function renew() {
  let next = RENEW_MS;
  try {
    show(await askTicket());
    message.textContent = '';
  } catch (error) {
    message.textContent = error.message;
    next = RETRY_MS;
  }
  setTimeout(renew, next);
}

const asked = new URLSearchParams(location.search).get('plot');
if (asked && [...plot.options].some(option => option.value === asked)) {
  plot.value = asked;
}
plot.addEventListener('change', () => void askTicket().then(show, error => (message.textContent = error.message)));
void renew();
