// Spans of time and moments, written as the server writes them (agentd/reporting/words.py).

const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

/** Two units at most: `3.2s`, `13m32s`, `2h05m`. */
export function duration(seconds) {
  if (seconds > 0 && seconds < 10) return `${seconds.toFixed(1)}s`;
  const whole = Math.floor(seconds);
  for (let at = 0; at < UNITS.length - 1; at += 1) {
    const [unit, size] = UNITS[at];
    const [below, sizeBelow] = UNITS[at + 1];
    if (whole >= size) {
      const rest = Math.floor((whole % size) / sizeBelow);
      return `${Math.floor(whole / size)}${unit}${String(rest).padStart(2, "0")}${below}`;
    }
  }
  return `${whole}s`;
}

/** The time of day in this person's zone; with the date if it is not today's. */
export function moment(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return date.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
}

/** Show every `time` element below a node in this person's zone. */
export function localise(root) {
  for (const each of root.querySelectorAll("time[datetime]")) {
    const date = new Date(each.dateTime);
    if (!Number.isNaN(date.getTime())) {
      each.title = each.dateTime;
      each.textContent = moment(date);
    }
  }
}
