import { useEffect, useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { OffloadProblem } from '../../api/problem';
import type { Cluster, TimelineEntry } from '../../api/types';
import { isFinished } from '../../models/store';
import { clockTime, exactTime } from '../../models/quantities';
import { useTrans } from '../shared/context';

export type TimelineReader = (id: string) => Promise<TimelineEntry[]>;

interface ITimelineState {
  entries: TimelineEntry[];
  error: OffloadProblem | null;
}

/** Read the timeline again whenever the record changes. */
export function useTimeline(cluster: Cluster, read: TimelineReader): ITimelineState {
  const [state, setState] = useState<ITimelineState>({ entries: [], error: null });
  const { id, revision } = cluster;
  useEffect(() => {
    let isCurrent = true;
    if (revision === 0) {
      return; // not confirmed yet: nothing to read
    }
    read(id).then(
      entries => isCurrent && setState({ entries, error: null }),
      error =>
        isCurrent &&
        setState(old => ({ entries: old.entries, error: OffloadProblem.from(error) }))
    );
    return () => {
      isCurrent = false;
    };
  }, [id, revision, read]);
  return state;
}

/** What a starting cluster still has before it. */
export function stepsAhead(cluster: Cluster, trans: TranslationBundle): string[] {
  const started = trans.__('scheduler started');
  const connected = trans.__('workers connected, round trip proven');
  switch (cluster.phase) {
    case 'pending':
      return [started, connected];
    case 'starting':
      return cluster.workers.requested > 0 ? [connected] : [];
    default:
      return [];
  }
}

const MARKS: Record<TimelineEntry['level'], string> = { info: '✓', warning: '!', error: '✗' };

interface ITimelineProps {
  cluster: Cluster;
  read: TimelineReader;
  now: Date;
  /** Show the last entries only. */
  limit?: number;
}

/** What happened to a cluster and why, what it waits for, and what is still ahead. */
export function Timeline({ cluster, read, now, limit }: ITimelineProps): JSX.Element {
  const trans = useTrans();
  const { entries, error } = useTimeline(cluster, read);
  const shown = limit ? entries.slice(-limit) : entries;
  const levels: Record<TimelineEntry['level'], string> = {
    info: trans.__('done'),
    warning: trans.__('warning'),
    error: trans.__('error')
  };
  const isUnderWay = !isFinished(cluster) && cluster.phase !== 'running';
  const isSaid = shown.some(it => it.message === cluster.reason.message);
  return (
    <ol
      className="jp-Offload-timeline"
      aria-label={trans.__('What happened to %1', cluster.name)}
    >
      {error && <li className="jp-mod-error">{error.message}</li>}
      {shown.map((entry, index) => (
        <li key={`${entry.at} ${index}`} className={`jp-mod-${entry.level}`}>
          <span className="jp-Offload-mark" role="img" aria-label={levels[entry.level]}>
            {MARKS[entry.level]}
          </span>
          <span className="jp-Offload-timelineText">
            {entry.worker ? `${entry.worker}: ` : ''}
            {entry.message}
          </span>
          <time dateTime={entry.at} title={exactTime(entry.at, trans)}>
            {clockTime(entry.at, now, trans)}
          </time>
        </li>
      ))}
      {isUnderWay && !isSaid && (
        <li className="jp-mod-now" aria-current="step">
          <span className="jp-Offload-mark" role="img" aria-label={trans.__('under way')}>
            …
          </span>
          <span className="jp-Offload-timelineText">{cluster.reason.message}</span>
        </li>
      )}
      {stepsAhead(cluster, trans).map(step => (
        <li key={step} className="jp-mod-ahead">
          <span className="jp-Offload-mark" role="img" aria-label={trans.__('still ahead')}>
            ○
          </span>
          <span className="jp-Offload-timelineText">{step}</span>
        </li>
      ))}
    </ol>
  );
}
