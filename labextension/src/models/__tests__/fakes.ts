import { OffloadProblem } from '../../api/problem';
import type { OffloadClient } from '../../api/client';
import type {
  Cluster,
  ClusterList,
  ClusterSpecInput,
  Preview,
  Profile,
  Site
} from '../../api/types';
import { cluster, environment, trans } from '../../cells/__tests__/fakes';
import { resolveProfile } from '../asked';
import { ClusterModel } from '../model';

export { cluster, environment, trans };

function profile(name: string, title: string, more: Partial<Profile>): Profile {
  return { ...resolveProfile(undefined, cluster('x').spec), name, title, ...more };
}

export function site(name: string, more: Partial<Site> = {}): Site {
  return {
    name,
    title: name === 'local' ? 'This machine' : name,
    description: '',
    backend: 'local',
    profiles: [
      profile('small', 'Small', {
        cores: 1,
        memory_bytes: 2 ** 32,
        maximum_workers: 8,
        maximum_cores: 4,
        idle_timeout_s: 3600,
        lifetime_s: 0,
        maximum_lifetime_s: 86_400
      }),
      profile('big', 'Big', { cores: 8, memory_bytes: 2 ** 35, maximum_workers: 3 })
    ],
    default_profile: 'small',
    maximum_clusters: 20,
    images: [],
    architectures: [],
    unavailable: {},
    encrypted: true,
    health: {
      state: 'healthy',
      message: '',
      hint: null,
      checked_at: null,
      last_heard_at: null
    },
    capacity: {
      cores_total: 16,
      cores_free: 14,
      memory_total_bytes: null,
      memory_free_bytes: null,
      accelerators: [],
      source: 'measured',
      expected_start_s: 0.4
    },
    ...more
  };
}

export function problem(more: Partial<OffloadProblem['document']>): OffloadProblem {
  return new OffloadProblem({
    type: 'about:blank',
    title: 'problem',
    status: 422,
    code: 'invalid',
    detail: 'That is wrong.',
    field: null,
    hint: null,
    transient: false,
    request_id: null,
    errors: [],
    ...more
  });
}

/** A promise in the test's hand. */
export class Deferred<T> {
  resolve!: (value: T) => void;
  reject!: (error: unknown) => void;
  readonly promise = new Promise<T>((resolve, reject) => {
    this.resolve = resolve;
    this.reject = reject;
  });
}

/** The server: what it has, and what it was asked. */
export class FakeClient {
  list: ClusterList = { revision: 1, clusters: [] };
  sites: Site[] = [site('local')];
  environments = [environment('python3', { default: true })];
  created: { id: string; spec: ClusterSpecInput }[] = [];
  changed: unknown[] = [];
  previewed: ClusterSpecInput[] = [];
  lists = 0;

  listClusters = (): Promise<ClusterList> => {
    this.lists += 1;
    return Promise.resolve(this.list);
  };
  listSites = () => Promise.resolve(this.sites);
  listEnvironments = () => Promise.resolve(this.environments);
  createCluster = (id: string, spec: ClusterSpecInput): Promise<Cluster> => {
    this.created.push({ id, spec });
    return Promise.resolve(cluster(id, 'pending', { name: spec.name, revision: 5 }));
  };
  changeCluster = (id: string, change: unknown): Promise<Cluster> => {
    this.changed.push(change);
    return Promise.resolve(cluster(id, 'running', { revision: 9 }));
  };
  deleteCluster = (_id: string): Promise<Cluster | null> => Promise.resolve(null);
  previewCluster = (spec: ClusterSpecInput): Promise<Preview> => {
    this.previewed.push(spec);
    const { profile } = cluster('x');
    return Promise.resolve({
      kind: 'command',
      text: 'python -m scheduler',
      spec: cluster('x').spec,
      profile,
      warnings: []
    });
  };
  clusterTimeline = () => Promise.resolve([]);
}

export function makeModel(client: FakeClient): ClusterModel {
  return new ClusterModel({ client: client as unknown as OffloadClient, trans, poll: false });
}
