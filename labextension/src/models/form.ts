import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster, ClusterSpec, ClusterSpecInput, Profile, Site } from '../api/types';
import { freeName, NAME_PATTERN } from './names';
import { exactBytes, formatDuration } from './quantities';
import { isFinished } from './store';

/** What the New-cluster dialog holds: texts as typed, so that nothing is lost while it is wrong. */
export interface IClusterForm {
  name: string;
  site: string;
  profile: string;
  /** Whether cores and memory below replace those of the profile. */
  hasOwnSize: boolean;
  cores: string;
  memory: string;
  workers: string;
  isAdaptive: boolean;
  minimum: string;
  maximum: string;
  /** Name of one of the site's images; empty = its first one. */
  image: string;
  /** Name of an environment; empty = the default one. */
  environment: string;
  /** Seconds, or empty = as the profile says. */
  idleTimeout: string;
  lifetime: string;
  /** Lines of NAME=value. */
  env: string;
  /** Module names, one a line. */
  modules: string;
}

/** Messages beside fields; the key is the name of the field in the API. */
export type FieldMessages = Partial<Record<string, string>>;

/** Choices of "ends when idle for", in seconds. */
export const IDLE_CHOICES_S = [1200, 3600, 14_400, 43_200, 0];
/** Choices of "ends at the latest after", in seconds. */
export const LIFETIME_CHOICES_S = [3600, 21_600, 43_200, 86_400, 259_200, 0];

export function findProfile(site: Site | undefined, name: string): Profile | undefined {
  return site?.profiles.find(it => it.name === name) ?? defaultProfile(site);
}

/** The site's default where it can be had, else the first that can. */
export function defaultProfile(site: Site | undefined): Profile | undefined {
  const had = site?.profiles.filter(it => site.unavailable[it.name] === undefined) ?? [];
  return had.find(it => it.name === site?.default_profile) ?? had[0] ?? site?.profiles[0];
}

/** Whether a cluster can be asked for at a site; "unknown" health may be tried. */
export function isUsable(site: Site): boolean {
  return site.health.state !== 'unhealthy' && site.profiles.length > 0;
}

/** A filled-in form: the remembered choice where it still exists, else defaults. */
export function startForm(
  sites: readonly Site[],
  clusters: readonly Cluster[],
  remembered: Partial<IClusterForm>,
  idleTimeout: string
): IClusterForm {
  const site =
    sites.find(it => it.name === remembered.site && isUsable(it)) ??
    sites.find(isUsable) ??
    sites[0];
  const form: IClusterForm = {
    name: '',
    site: site?.name ?? '',
    profile: '',
    hasOwnSize: false,
    cores: '',
    memory: '',
    workers: '2',
    isAdaptive: false,
    minimum: '0',
    maximum: '8',
    image: '',
    environment: '',
    idleTimeout,
    lifetime: '',
    env: '',
    modules: '',
    ...remembered
  };
  form.site = site?.name ?? '';
  // A finished cluster gives its name back to whoever asks for that name; a proposal of ours avoids both.
  const named = remembered.name ? clusters.filter(it => !isFinished(it)) : clusters;
  form.name = freeName(
    named.map(it => it.name),
    remembered.name
  );
  const next = withProfile(form, site, form.profile);
  const profile = findProfile(site, next.profile);
  // A record names the size it resolved to: that of its profile is no own size.
  next.hasOwnSize &&=
    next.cores !== String(profile?.cores) ||
    next.memory !== exactBytes(profile?.memory_bytes ?? 0);
  return next;
}

/** Change the profile: own sizes start from it and limits are kept. */
export function withProfile(
  form: IClusterForm,
  site: Site | undefined,
  name: string
): IClusterForm {
  const profile = findProfile(site, name);
  if (!profile) {
    return form;
  }
  const next = { ...form, profile: profile.name };
  if (!form.hasOwnSize || !form.cores) {
    next.cores = String(profile.cores);
  }
  if (!form.hasOwnSize || !form.memory) {
    next.memory = exactBytes(profile.memory_bytes);
  }
  if (!form.isAdaptive && Number(form.maximum) > profile.maximum_workers) {
    next.maximum = String(profile.maximum_workers); // only a proposal so far
  }
  return next;
}

/** The part of a form that a spec, or a part of one, fills in. */
export function formOf(spec: Partial<ClusterSpec>): Partial<IClusterForm> {
  const form: Partial<IClusterForm> = {};
  const text = (value: number | null) => (value === null ? '' : String(value));
  const { adaptive, cores, memory_bytes, env, modules } = spec;
  if (spec.name !== undefined) form.name = spec.name;
  if (spec.site !== undefined) form.site = spec.site;
  if (spec.profile !== undefined) form.profile = spec.profile ?? '';
  if (cores !== undefined || memory_bytes !== undefined) {
    form.hasOwnSize = (cores ?? null) !== null || (memory_bytes ?? null) !== null;
    form.cores = text(cores ?? null);
    form.memory = memory_bytes ? exactBytes(memory_bytes) : '';
  }
  if (spec.workers !== undefined) form.workers = String(spec.workers);
  if (adaptive !== undefined) {
    form.isAdaptive = adaptive !== null;
    if (adaptive) {
      form.minimum = String(adaptive.minimum);
      form.maximum = String(adaptive.maximum);
    }
  }
  if (spec.image !== undefined) form.image = spec.image ?? '';
  if (spec.environment !== undefined) form.environment = spec.environment ?? '';
  if (spec.idle_timeout_s !== undefined) form.idleTimeout = text(spec.idle_timeout_s);
  if (spec.lifetime_s !== undefined) form.lifetime = text(spec.lifetime_s);
  if (env !== undefined) {
    form.env = Object.entries(env)
      .map(([name, value]) => `${name}=${value}`)
      .join('\n');
  }
  if (modules !== undefined) form.modules = modules.join('\n');
  return form;
}

function lines(text: string): string[] {
  return text
    .split(/[\n,]/)
    .map(it => it.trim())
    .filter(Boolean);
}

function envOf(text: string): Record<string, string> {
  const env: Record<string, string> = {};
  for (const line of text.split('\n')) {
    const at = line.indexOf('=');
    if (line.trim()) {
      env[(at < 0 ? line : line.slice(0, at)).trim()] = at < 0 ? '' : line.slice(at + 1);
    }
  }
  return env;
}

/** What the form asks the API for. Memory stays text: the keeper alone reads amounts. */
export function specOf(form: IClusterForm): ClusterSpecInput {
  const spec: ClusterSpecInput = {
    name: form.name.trim(),
    site: form.site,
    profile: form.profile || null,
    workers: Number(form.isAdaptive ? form.minimum : form.workers),
    environment: form.environment || null
  };
  if (form.image) {
    spec.image = form.image;
  }
  if (form.isAdaptive) {
    spec.adaptive = { minimum: Number(form.minimum), maximum: Number(form.maximum) };
  }
  if (form.hasOwnSize) {
    spec.cores = Number(form.cores);
    spec.memory_bytes = form.memory.trim();
  }
  if (form.idleTimeout !== '') {
    spec.idle_timeout_s = Number(form.idleTimeout);
  }
  if (form.lifetime !== '') {
    spec.lifetime_s = Number(form.lifetime);
  }
  if (form.env.trim()) {
    spec.env = envOf(form.env);
  }
  if (form.modules.trim()) {
    spec.modules = lines(form.modules);
  }
  return spec;
}

/** A whole number between limits, or what is wrong with it. */
export function checkCount(
  text: string,
  minimum: number,
  maximum: number,
  trans: TranslationBundle
): string | null {
  const value = /^\d+$/.test(text.trim()) ? Number(text) : NaN;
  if (Number.isNaN(value)) {
    return trans.__('Write a whole number from %1 to %2.', minimum, maximum);
  }
  if (value > maximum) {
    return trans.__('%1 is more than the %2 you may have.', value, maximum);
  }
  if (value < minimum) {
    return trans.__('%1 is less than %2.', value, minimum);
  }
  return null;
}

/** What is wrong as far as can be told while typing; the server checks all of it again. */
export function checkForm(
  form: IClusterForm,
  site: Site | undefined,
  clusters: readonly Cluster[],
  trans: TranslationBundle
): FieldMessages {
  const messages: FieldMessages = {};
  const profile = findProfile(site, form.profile);
  const name = form.name.trim();
  if (!NAME_PATTERN.test(name)) {
    messages.name = trans.__(
      "Use letters, digits, '.', '_' and '-', at most 40, beginning with a letter or digit."
    );
  } else if (
    clusters.some(it => it.name === name && it.phase !== 'stopped' && it.phase !== 'failed')
  ) {
    messages.name = trans.__('A cluster of this name is there already.');
  }
  if (!site || !profile) {
    messages.site = trans.__('Choose a site.');
    return messages;
  }
  const unavailable = site.unavailable[profile.name];
  if (unavailable !== undefined) {
    messages.profile = unavailable;
  }
  const most = profile.maximum_workers;
  const put = (field: string, message: string | null) => {
    if (message) {
      messages[field] = message;
    }
  };
  if (form.isAdaptive) {
    put('adaptive.minimum', checkCount(form.minimum, 0, most, trans));
    put('adaptive.maximum', checkCount(form.maximum, 1, most, trans));
    if (
      !messages['adaptive.minimum'] &&
      !messages['adaptive.maximum'] &&
      Number(form.minimum) > Number(form.maximum)
    ) {
      messages['adaptive.minimum'] = trans.__('%1 is above %2.', form.minimum, form.maximum);
    }
  } else {
    put('workers', checkCount(form.workers, 0, most, trans));
  }
  if (form.hasOwnSize) {
    put('cores', checkCount(form.cores, 1, profile.maximum_cores ?? profile.cores, trans));
    if (!form.memory.trim()) {
      messages.memory_bytes = trans.__("Write an amount such as '4 GiB'.");
    }
  }
  return messages;
}

/** A duration of a select: a time, or "never" for 0. */
export function durationWords(seconds: number, zero: string, trans: TranslationBundle): string {
  return seconds === 0 ? zero : formatDuration(seconds, trans);
}

/** The name of an API field without the place it was sent in. */
export function fieldName(field: string): string {
  return field.replace(/^(body|spec)\./, '').replace(/^spec\./, '');
}
