import { UUID } from '@lumino/coreutils';
import type { Cluster, ClusterSpec, ClusterSpecInput, Profile, Site } from '../api/types';

/** A new cluster id, chosen here so that the request may be repeated and the card is there before the answer. */
export function newId(): string {
  return UUID.uuid4().replace(/-/g, '').slice(0, 16);
}

function fullSpec(spec: ClusterSpecInput): ClusterSpec {
  return {
    site: 'local',
    profile: null,
    workers: 2,
    adaptive: null,
    cores: null,
    environment: null,
    image: null,
    idle_timeout_s: null,
    lifetime_s: null,
    env: {},
    modules: [],
    ...spec,
    memory_bytes: typeof spec.memory_bytes === 'number' ? spec.memory_bytes : null
  };
}

/** The profile a spec means at a site, with the size asked for. */
export function resolveProfile(site: Site | undefined, spec: ClusterSpec): Profile {
  const name = spec.profile ?? site?.default_profile ?? null;
  const found = site?.profiles.find(it => it.name === name) ?? site?.profiles[0];
  return {
    name: name ?? 'default',
    title: '',
    maximum_cores: null,
    maximum_memory_bytes: null,
    accelerators: [],
    architecture: null,
    maximum_workers: 1,
    walltime_s: null,
    idle_timeout_s: null,
    lifetime_s: null,
    maximum_lifetime_s: null,
    ...found,
    cores: spec.cores ?? found?.cores ?? 1,
    memory_bytes: spec.memory_bytes ?? found?.memory_bytes ?? 0
  };
}

/** What the card shows until the server has answered: the record it will make of this request, as far as is known. */
export function askedCluster(
  id: string,
  input: ClusterSpecInput,
  sites: readonly Site[],
  message: string,
  now: Date
): Cluster {
  const spec = fullSpec(input);
  const site = sites.find(it => it.name === spec.site);
  return {
    id,
    name: spec.name,
    spec,
    profile: resolveProfile(site, spec),
    site_title: site?.title || spec.site,
    owner: '',
    host: '',
    desired: 'running',
    phase: 'pending',
    phase_since: now.toISOString(),
    reason: { code: 'accepted', message, hint: null },
    created_at: now.toISOString(),
    revision: 0,
    workers: { requested: spec.workers, starting: 0, connected: 0 },
    worker_list: [],
    usage: {
      cores: 0,
      memory_bytes: 0,
      memory_used_bytes: 0,
      busy_fraction: 0,
      tasks_done: 0,
      tasks_waiting: 0,
      clients: 0
    },
    end: null,
    idle_since: null,
    ends_with_server: false,
    connectable: false,
    dashboard: false,
    encrypted: site?.encrypted ?? true,
    adopted: false,
    left_at_site: []
  };
}
