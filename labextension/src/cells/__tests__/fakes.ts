import { nullTranslator } from '@jupyterlab/translation';
import { Signal } from '@lumino/signaling';
import type { Cluster, Connection, Environment, Phase } from '../../api/types';
import type { IClusterModel } from '../../tokens';

export const trans = nullTranslator.load('jupyter_offload');

/** A cluster record as the keeper writes it. */
export function cluster(
  id: string,
  phase: Phase = 'running',
  more: Partial<Cluster> = {}
): Cluster {
  const isRunning = phase === 'running';
  return {
    id,
    name: id,
    spec: {
      name: id,
      site: 'local',
      profile: null,
      workers: 2,
      adaptive: null,
      cores: null,
      memory_bytes: null,
      environment: null,
      image: null,
      idle_timeout_s: null,
      lifetime_s: null,
      env: {},
      modules: []
    },
    profile: {
      name: 'small',
      title: 'Small',
      cores: 1,
      memory_bytes: 2 ** 31,
      accelerators: [],
      architecture: null,
      maximum_workers: 8,
      walltime_s: null,
      idle_timeout_s: null,
      lifetime_s: null,
      maximum_lifetime_s: null
    },
    site_title: 'This machine',
    owner: 'alice',
    host: 'host',
    desired: 'running',
    phase,
    phase_since: '2026-11-21T10:00:00Z',
    reason: { code: 'all-workers', message: `${id} is ${phase}.`, hint: null },
    created_at: '2026-11-21T10:00:00Z',
    revision: 1,
    workers: { requested: 2, starting: 0, connected: isRunning ? 2 : 0 },
    worker_list: [],
    usage: {
      cores: 2,
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
    connectable: isRunning,
    dashboard: isRunning,
    encrypted: true,
    adopted: false,
    left_at_site: [],
    ...more
  } as Cluster;
}

export function environment(name: string, more: Partial<Environment> = {}): Environment {
  return {
    name,
    title: name,
    python: `/envs/${name}/bin/python`,
    python_version: '3.11.4',
    versions: { dask: '2026.8.0', distributed: '2026.8.0', jupyter_offload: '0.1.0' },
    usable: true,
    problem: null,
    hint: null,
    default: false,
    ...more
  };
}

/** The part of the model that attachments and panes use, with the lists in the test's hand. */
export class Clusters {
  constructor(public clusters: Cluster[] = []) {}

  isReady = true;
  environmentList: Environment[] = [environment('python3', { default: true })];
  connectionError: Error | null = null;
  readonly changed = new Signal<IClusterModel, void>(this as never);

  environments = () => Promise.resolve(this.environmentList);

  connection = (id: string): Promise<Connection> =>
    this.connectionError
      ? Promise.reject(this.connectionError)
      : Promise.resolve({
          id,
          name: id,
          scheduler_address: `tls://127.0.0.1/${id}`,
          tls: { ca_file: '/d/ca.pem', cert_file: '/d/client.pem', key_file: '/d/client.pem' },
          connection_file: `/data/${id}/connection.json`,
          relay: null
        });

  show(...clusters: Cluster[]): void {
    this.clusters = clusters;
    this.changed.emit();
  }
}
