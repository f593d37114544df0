import type { TranslationBundle } from '@jupyterlab/translation';

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

function unitOf(bytes: number): number {
  let unit = 0;
  while (bytes >= 1024 && unit < BYTE_UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return unit;
}

function inUnit(bytes: number, unit: number): string {
  const value = bytes / 1024 ** unit;
  return value >= 100 || Number.isInteger(value)
    ? String(Math.round(value))
    : value.toPrecision(2);
}

/** A short binary amount, such as "4 GiB". */
export function formatBytes(bytes: number): string {
  const unit = unitOf(bytes);
  return `${inUnit(bytes, unit)} ${BYTE_UNITS[unit]}`;
}

/** Used of total, in one unit where that can be read: "31 of 128 GiB", "75 MiB of 4 GiB". */
export function formatBytesOf(used: number, total: number, trans: TranslationBundle): string {
  const unit = unitOf(total);
  if (unitOf(used) < unit - 1 || used < 0.1 * 1024 ** unit) {
    return trans.__('%1 of %2', formatBytes(used), formatBytes(total));
  }
  return trans.__('%1 of %2 %3', inUnit(used, unit), inUnit(total, unit), BYTE_UNITS[unit]);
}

/** A short duration with at most two units, such as "38 s", "41 min" or "3 h 5 min". */
export function formatDuration(seconds: number, trans: TranslationBundle): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) {
    return trans.__('%1 s', whole);
  }
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) {
    return trans.__('%1 min', minutes);
  }
  const hours = Math.floor(minutes / 60);
  if (hours < 24) {
    const rest = minutes % 60;
    return rest ? trans.__('%1 h %2 min', hours, rest) : trans.__('%1 h', hours);
  }
  const days = Math.floor(hours / 24);
  return hours % 24 ? trans.__('%1 d %2 h', days, hours % 24) : trans.__('%1 d', days);
}

/** Date and time to the second, for tooltips. */
export function exactTime(time: string, trans: TranslationBundle): string {
  return new Date(time).toLocaleString(language(trans), {
    dateStyle: 'medium',
    timeStyle: 'medium'
  });
}

/** The clock time, with the day where it is not today. */
export function clockTime(time: string, now: Date, trans: TranslationBundle): string {
  const then = new Date(time);
  const clock: Intl.DateTimeFormatOptions = {
    hour: '2-digit',
    minute: '2-digit',
    hour12: false
  };
  const isToday = then.toDateString() === now.toDateString();
  const day: Intl.DateTimeFormatOptions = isToday ? {} : { day: 'numeric', month: 'short' };
  return then.toLocaleString(language(trans), { ...day, ...clock });
}

export function secondsBetween(from: string, to: Date): number {
  return (to.getTime() - new Date(from).getTime()) / 1000;
}

/** Lab's language where the bundle knows it; else the browser's. */
function language(trans: TranslationBundle): string | undefined {
  const locale = (trans as { locale?: string }).locale?.replace('_', '-');
  return locale && locale !== 'en' && locale !== 'default' ? locale : undefined;
}

/** The shortest exact text of an amount, for fields that people edit. */
export function exactBytes(bytes: number): string {
  let unit = 0;
  while (bytes > 0 && bytes % 1024 === 0 && unit < BYTE_UNITS.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes} ${BYTE_UNITS[unit]}`;
}
