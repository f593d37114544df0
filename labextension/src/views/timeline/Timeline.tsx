import { type ReactNode, useEffect, useState } from 'react';
import type { TranslationBundle } from '@jupyterlab/translation';
import { OffloadProblem } from '../../api/problem';
import type { Cluster, TimelineEntry } from '../../api/types';
import { isFinished } from '../../models/store';
import { clockTime, exactTime } from '../../models/quantities';
import { useTrans } from '../shared/context';
import { Message } from '../shared/Message';

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
  const last = shown.length - 1;
  // What it waits for is the newest entry or, before the record came with its history, not in it yet.
  const isLastUnderWay = isUnderWay && shown[last]?.message === cluster.reason.message;
  const underWay = trans.__('under way');
  return (
    <ol
      className="jp-Offload-timeline"
      aria-label={trans.__('What happened to %1', cluster.name)}
    >
      {error && <li className="jp-mod-error">{error.message}</li>}
      {shown.map((entry, index) => {
        const isNow = isLastUnderWay && index === last && entry.level === 'info';
        return (
          <Step
            key={`${entry.at} ${index}`}
            state={isNow ? 'now' : entry.level}
            mark={isNow ? '…' : MARKS[entry.level]}
            markLabel={isNow ? underWay : levels[entry.level]}
            text={entryText(entry)}
            hint={isLastUnderWay && index === last ? cluster.reason.hint : null}
          >
            <time dateTime={entry.at} title={exactTime(entry.at, trans)}>
              {clockTime(entry.at, now, trans)}
            </time>
          </Step>
        );
      })}
      {isUnderWay && !isLastUnderWay && (
        <Step
          state="now"
          mark="…"
          markLabel={underWay}
          text={cluster.reason.message}
          hint={cluster.reason.hint}
        />
      )}
      {stepsAhead(cluster, trans).map(step => (
        <Step
          key={step}
          state="ahead"
          mark="○"
          markLabel={trans.__('still ahead')}
          text={step}
        />
      ))}
    </ol>
  );
}

/** The worker is named once: most messages name it themselves. */
function entryText({ worker, message }: TimelineEntry): string {
  return worker && !message.includes(worker) ? `${worker}: ${message}` : message;
}

interface IStepProps {
  state: TimelineEntry['level'] | 'now' | 'ahead';
  mark: string;
  markLabel: string;
  text: string;
  hint?: string | null;
  children?: ReactNode;
}

function Step({ state, mark, markLabel, text, hint, children }: IStepProps): JSX.Element {
  return (
    <li className={`jp-mod-${state}`} aria-current={state === 'now' ? 'step' : undefined}>
      <span className="jp-Offload-mark" role="img" aria-label={markLabel}>
        {mark}
      </span>
      <div className="jp-Offload-timelineText">
        <Message text={text} hint={hint} />
      </div>
      {children}
    </li>
  );
}
