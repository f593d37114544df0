import { describe, expect, it } from 'vitest';
import { ClusterStore } from '../store';
import { cluster } from './fakes';

const names = (store: ClusterStore) => store.clusters.map(it => `${it.id}:${it.phase}`);

describe('ClusterStore', () => {
  it('drops a list that is older than what is shown', () => {
    const store = new ClusterStore();
    store.applyList({ revision: 7, clusters: [cluster('a', 'running')] }, -1);
    store.update();
    // Sent when nothing was known, answered late.
    expect(store.applyList({ revision: 3, clusters: [cluster('a', 'starting')] }, -1)).toBe(
      false
    );
    store.update();
    expect(names(store)).toEqual(['a:running']);
    expect(store.revision).toBe(7);
  });

  it('believes a new store of the server, whose revisions begin anew', () => {
    const store = new ClusterStore();
    store.applyList({ revision: 7, clusters: [cluster('a')] }, -1);
    expect(store.applyList({ revision: 2, clusters: [] }, 7)).toBe(true);
    store.update();
    expect(names(store)).toEqual([]);
    expect(store.revision).toBe(2);
  });

  it('takes usage of the same revision', () => {
    const store = new ClusterStore();
    const usage = { ...cluster('a').usage, busy_fraction: 0.5 };
    store.applyList({ revision: 7, clusters: [cluster('a')] }, -1);
    store.update();
    store.applyList({ revision: 7, clusters: [cluster('a', 'running', { usage })] }, 7);
    expect(store.update().map(it => it.type)).toEqual(['changed']);
    expect(store.clusters[0].usage.busy_fraction).toBe(0.5);
  });

  it('shows an answer that is newer than the list until the list has it', () => {
    const store = new ClusterStore();
    store.applyList({ revision: 7, clusters: [cluster('a', 'running', { revision: 7 })] }, -1);
    store.applyOne(cluster('a', 'stopping', { revision: 8 }));
    store.update();
    expect(names(store)).toEqual(['a:stopping']);
    // A list that was under way does not bring the old phase back.
    store.applyList({ revision: 7, clusters: [cluster('a', 'running', { revision: 7 })] }, 7);
    store.update();
    expect(names(store)).toEqual(['a:stopping']);
    store.applyList({ revision: 9, clusters: [cluster('a', 'stopped', { revision: 9 })] }, 7);
    store.update();
    expect(names(store)).toEqual(['a:stopped']);
  });

  it('keeps a cluster that was asked for at the top until the server has it', () => {
    const store = new ClusterStore();
    store.applyList({ revision: 7, clusters: [cluster('a')] }, -1);
    store.ask(cluster('new', 'pending', { revision: 0 }));
    expect(store.update().map(it => [it.type, it.id])).toContainEqual(['added', 'new']);
    expect(names(store)).toEqual(['new:pending', 'a:running']);
    store.applyList({ revision: 8, clusters: [cluster('new', 'starting'), cluster('a')] }, 7);
    store.update();
    expect(names(store)).toEqual(['new:starting', 'a:running']);
    expect(store.isAsked('new')).toBe(false);
  });

  it('does not bring back what was forgotten when a list was under way', () => {
    const store = new ClusterStore();
    const list = { revision: 7, clusters: [cluster('a', 'stopped')] };
    store.applyList(list, -1);
    store.update();
    store.forget('a');
    expect(store.update().map(it => it.type)).toEqual(['removed']);
    store.applyList(list, 7);
    expect(store.update()).toEqual([]);
    expect(names(store)).toEqual([]);
  });

  it('keeps the identity of what did not change, so that its card is not drawn again', () => {
    const store = new ClusterStore();
    store.applyList({ revision: 7, clusters: [cluster('a'), cluster('b')] }, -1);
    store.update();
    const [a, b] = store.clusters;
    store.applyList({ revision: 8, clusters: [cluster('a'), cluster('b', 'failed')] }, 7);
    store.update();
    expect(store.clusters[0]).toBe(a);
    expect(store.clusters[1]).not.toBe(b);
  });
});
