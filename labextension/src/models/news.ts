import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster } from '../api/types';
import type { IClusterModel } from '../tokens';
import { secondsBetween } from './quantities';
import { endWords, splitMessage } from './words';

/** An end nearer than this is worth a word. */
const NEAR_END_S = 600;

export interface INews {
  kind: 'failed' | 'ending';
  id: string;
  message: string;
}

/** What is worth saying to somebody who looks elsewhere; each thing once. */
export class News {
  constructor(private readonly _trans: TranslationBundle) {}

  /** A cluster that failed just now; what had failed when Lab opened is no news. */
  ofChange({ old, now: cluster }: IClusterModel.IClusterChange): INews | null {
    if (!old || !cluster || cluster.phase !== 'failed' || old.phase === 'failed') {
      return null;
    }
    const { message, hint } = cluster.reason;
    const { head } = splitMessage(message); // the card has the rest
    const text = this._trans.__('Cluster %1 failed: %2', cluster.name, head);
    return { kind: 'failed', id: cluster.id, message: hint ? `${text} ${hint}` : text };
  }

  /** Clusters that come near their end. An end that was put off is news again. */
  endings(clusters: readonly Cluster[], now: Date): INews[] {
    const news: INews[] = [];
    for (const cluster of clusters) {
      const { id, end, phase } = cluster;
      const isNear =
        phase === 'running' && end !== null && -secondsBetween(end.at, now) < NEAR_END_S;
      if (!isNear) {
        this._ending.delete(id);
      } else if (!this._ending.has(id)) {
        this._ending.add(id);
        const words = endWords(cluster, now, this._trans)?.text ?? '';
        news.push({
          kind: 'ending',
          id,
          message: this._trans.__('Cluster %1 %2.', cluster.name, words)
        });
      }
    }
    return news;
  }

  private readonly _ending = new Set<string>();
}
