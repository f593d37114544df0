import type { ReadonlyPartialJSONObject } from '@lumino/coreutils';
import { canAttach } from '../cells/attachment';
import type { Cluster, IClusterModel } from '../tokens';

/** The cluster that a command means: the one named, the selected one, or the only one that has not ended. */
export function meantCluster(
  clusters: Pick<IClusterModel, 'clusters' | 'get' | 'selected'>,
  args: ReadonlyPartialJSONObject
): Cluster | undefined {
  const named = typeof args.id === 'string' ? args.id : clusters.selected;
  if (named) {
    return clusters.get(named);
  }
  const alive = clusters.clusters.filter(canAttach);
  return alive.length === 1 ? alive[0] : undefined;
}
