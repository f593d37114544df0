import { describe, expect, it } from 'vitest';
import type { Cluster, ClusterList } from '../../api/types';
import { cluster, Deferred, FakeClient, makeModel, problem } from './fakes';

const phases = (model: { clusters: readonly Cluster[] }) => model.clusters.map(it => it.phase);

describe('ClusterModel', () => {
  it('shows a card before the server has answered, and the record after', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    await model.refreshSites();
    const answer = new Deferred<Cluster>();
    let sent = '';
    client.createCluster = (id, spec) => {
      sent = id;
      return answer.promise.then(it => ({ ...it, id, name: spec.name }));
    };
    const done = model.create({ name: 'zmumu', workers: 3, profile: 'big' });
    const [card] = model.clusters;
    expect(card).toMatchObject({ id: sent, name: 'zmumu', phase: 'pending' });
    expect(card.workers.requested).toBe(3);
    expect(card.profile.cores).toBe(8);
    expect(card.site_title).toBe('This machine');
    expect(sent).toMatch(/^[a-z0-9][a-z0-9-]{5,39}$/);
    answer.resolve(cluster('any', 'starting', { revision: 5 }));
    await done;
    expect(phases(model)).toEqual(['starting']);
  });

  it('takes the card away again when the server refuses', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    client.createCluster = () => Promise.reject(problem({ detail: 'No.' }));
    await expect(model.create({ name: 'zmumu' })).rejects.toThrow('No.');
    expect(model.clusters).toEqual([]);
  });

  it('repeats a create that got lost with the same id', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    const ids: string[] = [];
    client.createCluster = id => {
      ids.push(id);
      return ids.length === 1
        ? Promise.reject(problem({ transient: true, status: 503 }))
        : Promise.resolve(cluster(id, 'pending', { revision: 5 }));
    };
    await model.create({ name: 'zmumu' });
    expect(ids[0]).toBe(ids[1]);
    expect(model.clusters).toHaveLength(1);
  });

  it('asks once more when it is told to look again while an answer is under way', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    const first = new Deferred<ClusterList>();
    const lists = [
      first.promise,
      Promise.resolve({ revision: 2, clusters: [cluster('a', 'running')] })
    ];
    client.listClusters = () => lists.shift()!;
    const done = model.refresh();
    void model.refresh();
    void model.refresh();
    first.resolve({ revision: 1, clusters: [cluster('a', 'starting')] });
    await done;
    expect(phases(model)).toEqual(['running']);
    expect(lists).toEqual([]);
  });

  it('keeps what was seen last when the server cannot be heard', async () => {
    const client = new FakeClient();
    client.list = { revision: 1, clusters: [cluster('a')] };
    const model = makeModel(client);
    await model.refresh();
    client.listClusters = () =>
      Promise.reject(problem({ code: 'keeper-unreachable', detail: 'Gone?' }));
    await model.refresh();
    expect(model.clusters).toHaveLength(1);
    expect(model.error?.code).toBe('keeper-unreachable');
    client.listClusters = () => Promise.resolve(client.list);
    await model.refresh();
    expect(model.error).toBeNull();
  });

  it('fetches often only while somebody looks and a cluster is unfinished', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    client.list = { revision: 1, clusters: [cluster('a', 'running')] };
    await model.refresh();
    expect(model.intervalMs).toBe(30_000);
    const watching = model.watch();
    expect(model.intervalMs).toBe(2000);
    client.list = { revision: 2, clusters: [cluster('a', 'stopped')] };
    await model.refresh();
    expect(model.intervalMs).toBe(30_000);
    client.list = { revision: 3, clusters: [cluster('b', 'pending')] };
    await model.refresh();
    expect(model.intervalMs).toBe(2000);
    watching.dispose();
    expect(model.intervalMs).toBe(30_000);
  });

  it('finds by id, then by the name of an unfinished cluster', async () => {
    const client = new FakeClient();
    client.list = {
      revision: 1,
      clusters: [
        cluster('new', 'failed', { name: 'z' }),
        cluster('old', 'running', { name: 'z' }),
        cluster('z', 'stopped', { name: 'other' })
      ]
    };
    const model = makeModel(client);
    await model.refresh();
    expect(model.get('z')?.id).toBe('z');
    client.list = { revision: 2, clusters: client.list.clusters.slice(0, 2) };
    await model.refresh();
    expect(model.get('z')?.id).toBe('old');
  });

  it('ends adaptive scaling when a number is asked for', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    await model.scale('a', 4);
    await model.adapt('a', { minimum: 1, maximum: 3 });
    expect(client.changed).toEqual([
      { workers: 4, adaptive: null },
      { adaptive: { minimum: 1, maximum: 3 } }
    ]);
  });

  it('says once for each cluster what changed', async () => {
    const client = new FakeClient();
    const model = makeModel(client);
    const said: string[] = [];
    model.clusterChanged.connect((_, it) => said.push(`${it.type} ${it.id} ${it.now?.phase}`));
    client.list = { revision: 1, clusters: [cluster('a', 'starting'), cluster('b')] };
    await model.refresh();
    client.list = { revision: 2, clusters: [cluster('a', 'running')] };
    await model.refresh();
    expect(said).toEqual([
      'added a starting',
      'added b running',
      'changed a running',
      'removed b undefined'
    ]);
  });

  it('lets go of the selection when its cluster is forgotten', async () => {
    const client = new FakeClient();
    client.list = { revision: 1, clusters: [cluster('a', 'stopped')] };
    const model = makeModel(client);
    await model.refresh();
    model.selected = 'a';
    await model.forget('a');
    expect(model.selected).toBeNull();
  });
});
