// Reads /status.json every two seconds while somebody looks, and shows it. Names come from clients: they go into the page
// as text (textContent, setAttribute), never as HTML.
'use strict';
(() => {
  const everyMs = 2000;
  const patienceMs = 6000;
  const historyLength = 90; // of the documents behind a sparkline: three minutes
  const shortestHistory = 15;
  const svgNamespace = 'http://www.w3.org/2000/svg';
  const history = { gets: [], hits: [], committed: [], waiting: [] };
  let before = null; // the document before this one
  let goneSince = null;
  let timer = 0;
  let asking = false;
  let shownWarnings = null;

  const byId = (id) => document.getElementById(id);

  // ---- words, as the daemon writes them (human_bytes.cpp, status_page.cpp)

  function bytes(value) {
    const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB', 'EiB'];
    let unit = 0;
    while (value >= 1023.5 && unit + 1 < units.length) {
      value /= 1024;
      unit += 1;
    }
    return value.toFixed(unit === 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2) + ' ' + units[unit];
  }
  const count = (value) => String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, ',');
  const percent = (part) => (Math.floor(part * 10000) / 100).toFixed(2) + '%';
  function rate(value) {
    if (value >= 999500) return (value / 1e6).toFixed(value >= 9.995e6 ? 1 : 2) + ' M';
    if (value >= 9995) return (value / 1e3).toFixed(1) + ' k';
    return count(value);
  }
  function duration(seconds) {
    const minutes = Math.floor(seconds / 60);
    const hours = Math.floor(minutes / 60);
    if (minutes === 0) return seconds + ' s';
    if (hours === 0) return minutes + ' min';
    if (hours < 24) return hours + ' h ' + (minutes % 60) + ' min';
    return Math.floor(hours / 24) + ' d ' + (hours % 24) + ' h';
  }
  const clockTime = (date) => date.toTimeString().slice(0, 8);

  // ---- elements

  function element(name, attributes, text) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  function svgElement(name, attributes) {
    const made = document.createElementNS(svgNamespace, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }
  // Touches nothing that has not changed: a screen reader need not hear it again, a selection stays.
  function setText(node, text) {
    if (node && node.textContent !== text) node.textContent = text;
  }
  function setFigure(id, text, value) {
    const node = byId(id);
    setText(node, text);
    if (value !== undefined) node.dataset.value = value;
  }
  // Rows of cells {text, value}; the first is the row's title. The table's head stays.
  function setRows(table, rows) {
    const body = byId(table).tBodies[0];
    while (body.rows.length > rows.length) body.deleteRow(-1);
    rows.forEach((cells, r) => {
      const row = body.rows[r] || body.insertRow();
      cells.forEach((cell, c) => {
        let node = row.cells[c];
        if (!node) {
          node = element(c === 0 ? 'th' : 'td', c === 0 ? { scope: 'row' } : {});
          row.append(node);
        }
        setText(node, cell.text);
        const kind = cell.name ? 'text name' : cell.word ? 'text' : '';
        if (node.className !== kind) node.className = kind;
        if (cell.name) node.title = cell.text;
        if (cell.value === undefined) delete node.dataset.value;
        else node.dataset.value = cell.value;
      });
    });
  }
  const word = (text) => ({ text: String(text), word: true });
  const name = (text) => ({ text: String(text), name: true });
  const number = (value) => ({ text: count(value), value });
  const size = (value) => ({ text: bytes(value), value });

  // ---- what has changed since the document before

  function flowSince(now, then) {
    if (!then || then.started_unix_seconds !== now.started_unix_seconds) return null;
    const seconds = (now.monotonic_ms - then.monotonic_ms) / 1000;
    const gets = now.totals.gets - then.totals.gets;
    const hits =
      now.totals.tls_hits + now.totals.shared_hits - then.totals.tls_hits - then.totals.shared_hits;
    const served = hits + now.totals.allocations - then.totals.allocations;
    if (seconds <= 0 || gets < 0 || hits < 0) return null;
    return { gets: gets / seconds, hits: served > 0 ? Math.min(1, hits / served) : null };
  }

  function remember(list, value) {
    list.push(value);
    if (list.length > historyLength) list.shift();
  }

  // A line over the last minutes; null is a gap. `floor` and `ceiling` of the scale, else by the values.
  function drawSpark(id, values, floor, ceiling) {
    const svg = byId(id);
    if (!svg) return;
    const known = values.filter((value) => value !== null);
    svg.replaceChildren();
    if (known.length < 2) return;
    const low = floor === undefined ? Math.min(...known) : floor;
    const high = Math.max(ceiling === undefined ? Math.max(...known) : ceiling, low + 1e-9);
    const span = Math.max(values.length, shortestHistory);
    const x = (i) => (100 * (span - values.length + i)) / (span - 1);
    const y = (value) => 27 - (25 * (value - low)) / (high - low);
    let line = '';
    let area = '';
    let start = -1;
    values.forEach((value, i) => {
      if (value === null) return;
      const first = i === 0 || values[i - 1] === null;
      if (first) start = i;
      line += (first ? 'M' : 'L') + x(i).toFixed(2) + ' ' + y(value).toFixed(2);
      area += (first ? 'M' + x(i).toFixed(2) + ' 30L' : 'L') + x(i).toFixed(2) + ' ' + y(value).toFixed(2);
      const last = i + 1 === values.length || values[i + 1] === null;
      if (last) area += 'L' + x(i).toFixed(2) + ' 30L' + x(start).toFixed(2) + ' 30Z';
    });
    svg.append(svgElement('path', { class: 'area', d: area }), svgElement('path', { d: line }));
  }

  // ---- parts of the page

  function showFigures(now) {
    const totals = now.totals;
    const flow = flowSince(now, before);
    setFigure('committed', bytes(now.committed_bytes), now.committed_bytes);
    setText(byId('committed-beside'), 'of ' + bytes(now.budget_bytes) + ', ' +
      percent(now.budget_bytes ? now.committed_bytes / now.budget_bytes : 0));
    byId('committed-beside').dataset.value = now.budget_bytes;
    const hits = flow && flow.hits !== null ? flow.hits : null;
    setFigure('hit-rate', percent(hits === null ? totals.hit_rate : hits), totals.hit_rate);
    setText(byId('hit-rate-beside'),
      hits === null ? 'in all' : percent(totals.hit_rate) + ' in all');
    setFigure('gets', flow ? rate(flow.gets) + '/s' : count(totals.gets), totals.gets);
    setText(byId('gets-beside'), flow ? count(totals.gets) + ' in all' : 'in all');
    setFigure('waiting', count(totals.orders_waiting), totals.orders_waiting);
    setFigure('attached', count(totals.clients), totals.clients);
    setText(byId('attached-beside'), count(totals.threads) + (totals.threads === 1 ? ' thread' : ' threads'));
    remember(history.gets, flow ? flow.gets : null);
    remember(history.hits, hits);
    remember(history.committed, now.committed_bytes);
    remember(history.waiting, totals.orders_waiting);
    drawSpark('committed-spark', history.committed, 0, now.budget_bytes);
    drawSpark('hit-rate-spark', history.hits, Math.min(0.9, ...history.hits.filter((v) => v !== null)), 1);
    drawSpark('gets-spark', history.gets, 0);
    drawSpark('waiting-spark', history.waiting, 0, Math.max(1, ...history.waiting));
  }

  function showHealth(now) {
    const verdict = byId('verdict');
    setText(verdict, now.verdict);
    verdict.className = now.healthy ? '' : 'bad';
    const text = JSON.stringify([now.warnings, now.warnings_left_out]);
    if (text === shownWarnings && goneSince === null) return;
    shownWarnings = text;
    const list = element('ul');
    for (const warning of now.warnings) {
      const item = element('li', { class: warning.level, 'data-code': warning.code });
      const what = (warning.pool ? 'pool ' + warning.pool + ': ' : '') + warning.what;
      item.append(element('strong', {}, what), document.createTextNode(warning.remedy));
      list.append(item);
    }
    if (now.warnings_left_out > 0) {
      list.append(element('li', { class: 'note' }, 'and ' + count(now.warnings_left_out) + ' more'));
    }
    byId('warnings').replaceChildren(...(list.childElementCount ? [list] : []));
  }

  function showBudget(now) {
    const whole = Math.max(now.budget_bytes, now.committed_bytes, 1);
    const parts = now.pools.map((pool, i) => ({ label: pool.name, size: pool.committed_bytes, kind: 'c' + (i % 6) }));
    const named = now.pools.reduce((sum, pool) => sum + pool.committed_bytes, 0);
    const others = now.committed_bytes - named - now.totals.overhead_bytes;
    if (now.pools_left_out > 0) {
      parts.push({ label: count(now.pools_left_out) + ' other pools', size: Math.max(0, others), kind: 'overhead' });
    }
    parts.push({ label: "the daemon's own", size: now.totals.overhead_bytes, kind: 'overhead' });
    const bar = byId('budget-bar');
    while (bar.childElementCount < parts.length) bar.append(svgElement('rect', { y: 0, height: 28, x: 0, width: 0 }));
    while (bar.childElementCount > parts.length) bar.lastElementChild.remove();
    let x = 0;
    parts.forEach((part, i) => {
      const width = (1000 * part.size) / whole;
      const rect = bar.children[i];
      rect.setAttribute('class', part.kind);
      rect.setAttribute('x', x.toFixed(2));
      // A gap of a pixel or so between pools, where there is room for it.
      rect.setAttribute('width', Math.max(0, width > 4 ? width - 1.5 : width).toFixed(2));
      x += width;
    });
    const free = Math.max(0, now.budget_bytes - now.committed_bytes);
    parts.push({ label: 'not committed', size: free, kind: 'rest' });
    const legend = byId('budget-legend');
    legend.replaceChildren(...parts.map((part) => {
      const item = element('li');
      item.append(element('span', { class: 'swatch ' + part.kind }), document.createTextNode(part.label + ' ' + bytes(part.size)));
      return item;
    }));
    bar.setAttribute('aria-label', 'Budget of ' + bytes(now.budget_bytes) + ': ' +
      parts.map((part) => part.label + ' ' + bytes(part.size)).join(', '));
  }

  const cellKinds = { h: 'hot', c: 'cold', '~': 'changing', '.': 'absent' };

  function mapRow(ring) {
    const row = element('div', { class: 'row' });
    const share = bytes(ring.committed_bytes) +
      (ring.cold_bytes > 0 ? ', ' + bytes(ring.cold_bytes) + ' cold' : '');
    const svg = svgElement('svg', { role: 'img', viewBox: '0 0 480 16', preserveAspectRatio: 'none',
      'aria-label': ring.pool + ', node ' + ring.node + ', class ' + ring.class + ': ' + share });
    const wide = Math.max(ring.cells.length, 24);
    [...ring.cells].forEach((letter, i) => {
      svg.append(svgElement('rect', { class: cellKinds[letter] || 'absent', x: ((480 * i) / wide).toFixed(2), y: 0,
        width: (480 / wide - 1.6).toFixed(2), height: 16, rx: 1.5 }));
    });
    const grain = '; a cell is ' + bytes(ring.extents_per_cell * ring.extent_bytes);
    row.append(element('span', {}, ring.class), svg, element('span', {}, share + grain));
    return row;
  }

  function showMap(now) {
    const parts = [];
    let title = '';
    for (const ring of now.maps) {
      const place = ring.pool + ', node ' + ring.node + ', pages of ' + ring.page_size;
      if (place !== title) {
        parts.push(element('h3', {}, place));
        title = place;
      }
      parts.push(mapRow(ring));
    }
    if (parts.length === 0) parts.push(element('p', { class: 'more' }, 'Nothing is committed, or the first look is under way.'));
    if (now.maps_left_out > 0) parts.push(element('p', { class: 'more' }, 'and ' + count(now.maps_left_out) + ' smaller ones'));
    byId('map').replaceChildren(...parts);
  }

  function showTables(now) {
    setRows('pools', now.pools.map((pool) => [name(pool.name), size(pool.committed_bytes), size(pool.limit_bytes),
      size(pool.reserved_bytes), size(pool.held_bytes), number(pool.clients), number(pool.threads),
      number(pool.orders_waiting), number(pool.gets), { text: percent(pool.hit_rate), value: pool.hit_rate }]));
    setRows('clients', now.clients.map((client) => [name(client.name || '-'), word(client.pool), number2(client.pid),
      size(client.held_bytes), size(client.cached_bytes), size(client.in_transit_bytes),
      word(client.suspect ? 'hung up, still runs' : '')]));
    setRows('classes', now.classes.map((row) => [name(row.pool), number(row.node), word(row.class), number(row.slots),
      number(row.held), number(row.cached), number(row.free), number(row.cold), number(row.in_transit),
      number(row.gets), number(row.allocations), number(row.failures)]));
    setText(byId('clients-more'), now.clients.length === 0 ? 'No client is attached.'
      : now.clients_left_out > 0 ? 'and ' + count(now.clients_left_out) + ' that hold less: zeropoolctl clients' : '');
    setText(byId('classes-more'),
      now.classes_left_out > 0 ? 'and ' + count(now.classes_left_out) + ' smaller ones: zeropoolctl pools' : '');
  }
  const number2 = (value) => ({ text: String(value), value });

  function show(now) {
    document.title = (now.healthy ? '' : '(!) ') + 'zeropoold' + (now.machine ? ' on ' + now.machine : '');
    setText(byId('about'), (now.machine ? 'on ' + now.machine + ', ' : '') + now.state + ' for ' +
      duration(now.uptime_seconds) + ', version ' + now.version);
    setText(byId('live'), 'live, as of ' + clockTime(new Date(now.unix_seconds * 1000)));
    showHealth(now);
    goneSince = null;
    document.body.classList.remove('gone');
    showFigures(now);
    showBudget(now);
    showTables(now);
    showMap(now);
    before = now;
    document.documentElement.dataset.polls = history.gets.length;
  }

  function showGone(why) {
    if (goneSince === null) {
      goneSince = new Date();
      document.body.classList.add('gone');
      const verdict = byId('verdict');
      verdict.className = 'bad';
      setText(verdict, 'The daemon does not answer since ' + clockTime(goneSince) + '.');
      const item = element('li', { class: 'warning', 'data-code': 'gone' });
      item.append(element('strong', {}, 'What is shown below is what it said last (' + why + ').'),
        document.createTextNode('Start it: systemctl start zeropoold. Clients go on with what they hold; this page goes on when it answers.'));
      const list = element('ul');
      list.append(item);
      byId('warnings').replaceChildren(list);
      shownWarnings = null;
    }
    setText(byId('live'), 'asking again every ' + everyMs / 1000 + ' s');
    before = null;
    for (const list of Object.values(history)) remember(list, null);
  }

  async function ask() {
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch('status.json', { cache: 'no-store', signal: AbortSignal.timeout(patienceMs) });
      if (!answer.ok) throw new Error('it answered with ' + answer.status);
      show(await answer.json());
    } catch (error) {
      showGone(error.name === 'TimeoutError' ? 'no answer within ' + patienceMs / 1000 + ' s'
        : error instanceof TypeError ? 'no connection' : error.message);
    } finally {
      asking = false;
      schedule();
    }
  }
  function schedule() {
    clearTimeout(timer);
    if (!document.hidden) timer = setTimeout(ask, everyMs);
  }
  document.addEventListener('visibilitychange', () => {
    clearTimeout(timer);
    before = null; // a rate over the time that nobody looked would be no rate of now
    if (document.hidden) setText(byId('live'), 'paused while nobody looks');
    else ask();
  });

  document.body.classList.add('with-script');
  ask();
})();
