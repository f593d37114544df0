import { JSONExt, type ReadonlyPartialJSONValue } from '@lumino/coreutils';
import type { Cluster, ClusterList } from '../api/types';
import type { IClusterModel } from '../tokens';

/** Phases that a cluster does not leave any more. */
export function isFinished(cluster: Cluster): boolean {
  return cluster.phase === 'stopped' || cluster.phase === 'failed';
}

function isSame(a: Cluster, b: Cluster): boolean {
  return JSONExt.deepEqual(
    a as unknown as ReadonlyPartialJSONValue,
    b as unknown as ReadonlyPartialJSONValue
  );
}

/**
 * The list of clusters as last heard, with what this browser knows better: clusters it just asked for, answers to its own
 * requests that are newer than the list, and clusters it just forgot.
 *
 * One revision orders lists and records. Unchanged clusters keep their identity, so that views can skip them.
 */
export class ClusterStore {
  get revision(): number {
    return this._revision;
  }

  /** Newest first. */
  get clusters(): readonly Cluster[] {
    return this._shown;
  }

  /** Whether the server has not confirmed this cluster yet. */
  isAsked(id: string): boolean {
    return this._asked.has(id);
  }

  /**
   * Take a list; false when it is older than what is shown.
   *
   * `askedAt` is the revision shown when the request was sent. An answer to a request sent after the newest list came
   * cannot be late: if it is older all the same, the server has a new store, and the old numbers mean nothing.
   */
  applyList(list: ClusterList, askedAt: number): boolean {
    if (list.revision < this._revision) {
      if (askedAt !== this._revision) {
        return false;
      }
      this._newer.clear();
    }
    this._revision = list.revision;
    this._listed = list.clusters;
    const ids = new Set(list.clusters.map(it => it.id));
    for (const cluster of list.clusters) {
      this._asked.delete(cluster.id);
    }
    for (const [id, cluster] of this._newer) {
      if (cluster.revision <= list.revision) {
        this._newer.delete(id);
      }
    }
    for (const id of this._forgotten) {
      if (!ids.has(id)) {
        this._forgotten.delete(id);
      }
    }
    return true;
  }

  /** Take one record that the server answered with. */
  applyOne(cluster: Cluster): void {
    this._asked.delete(cluster.id);
    if (cluster.revision > this._revision) {
      this._newer.set(cluster.id, cluster);
    }
  }

  /** Show a cluster before the server has answered. */
  ask(cluster: Cluster): void {
    this._asked.set(cluster.id, cluster);
  }

  /** The server refused. */
  refuse(id: string): void {
    this._asked.delete(id);
  }

  /** The server forgot a cluster; lists that were under way may still have it. */
  forget(id: string): void {
    this._newer.delete(id);
    this._asked.delete(id);
    this._forgotten.add(id);
  }

  /** Make `clusters` anew and tell what changed since the last call. */
  update(): IClusterModel.IClusterChange[] {
    const before = new Map(this._shown.map(it => [it.id, it]));
    const now = new Map<string, Cluster>();
    for (const cluster of this._merged()) {
      const old = before.get(cluster.id);
      now.set(cluster.id, old && isSame(old, cluster) ? old : cluster);
    }
    const changes: IClusterModel.IClusterChange[] = [];
    for (const [id, cluster] of now) {
      const old = before.get(id) ?? null;
      if (old !== cluster) {
        changes.push({ type: old ? 'changed' : 'added', id, old, now: cluster });
      }
    }
    for (const [id, old] of before) {
      if (!now.has(id)) {
        changes.push({ type: 'removed', id, old, now: null });
      }
    }
    this._shown = [...now.values()];
    return changes;
  }

  private *_merged(): Generator<Cluster> {
    const listed = new Set(this._listed.map(it => it.id));
    for (const [id, cluster] of this._asked) {
      if (!listed.has(id)) {
        yield cluster;
      }
    }
    for (const [id, cluster] of this._newer) {
      if (!listed.has(id)) {
        yield cluster;
      }
    }
    for (const cluster of this._listed) {
      if (!this._forgotten.has(cluster.id)) {
        yield this._newer.get(cluster.id) ?? cluster;
      }
    }
  }

  private _revision = -1;
  private _listed: Cluster[] = [];
  private _shown: readonly Cluster[] = [];
  private _asked = new Map<string, Cluster>();
  private _newer = new Map<string, Cluster>();
  private _forgotten = new Set<string>();
}
