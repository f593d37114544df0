import { memo, useState } from 'react';
import type { Cluster } from '../../api/types';
import { isFinished } from '../../models/store';
import {
  clockTime,
  exactTime,
  formatBytesOf,
  formatDuration,
  secondsBetween
} from '../../models/quantities';
import { arrivedWords, endWords, phaseWord, placeWords } from '../../models/words';
import { useTrans } from '../shared/context';
import { useNow } from '../shared/hooks';
import { IconButton } from '../shared/IconButton';
import { Message } from '../shared/Message';
import { Elapsed } from '../shared/Time';
import { Timeline, type TimelineReader } from '../timeline/Timeline';
import type { ICardActions } from './actions';
import { CardButtons } from './CardButtons';
import { Meter } from './Meter';
import { Waiting, WorkerTable } from './Workers';

/** Entries of the timeline that fit a card; the view of its own has all. */
const CARD_ENTRIES = 5;
/** An end nearer than this can be put off from the card itself. */
const NEAR_END_S = 15 * 60;

interface ICardProps {
  cluster: Cluster;
  isSelected: boolean;
  actions: ICardActions;
  readTimeline: TimelineReader;
}

/** One cluster: which, what phase, where, how much arrived, why, how busy, when it ends; then the actions. */
export const Card = memo(function Card(props: ICardProps): JSX.Element {
  const { cluster, isSelected, actions } = props;
  const trans = useTrans();
  const isWaiting = cluster.phase === 'pending' || cluster.phase === 'starting';
  const now = useNow(isWaiting || isYoung(cluster) ? 1000 : 10_000);
  const titleId = `jp-offload-card-${cluster.id}`;
  return (
    <li
      className={`jp-Offload-card${isSelected ? ' jp-mod-selected' : ''}`}
      data-phase={cluster.phase}
      data-cluster={cluster.id}
      aria-labelledby={titleId}
      onClick={() => actions.select(cluster.id)}
      onPointerDown={event => actions.press(cluster.id, event)}
    >
      <div className="jp-Offload-cardHead">
        <button
          type="button"
          id={titleId}
          className="jp-Offload-name"
          aria-pressed={isSelected}
          title={trans.__(
            'Select %1. Drag the card into a notebook for its client cell.',
            cluster.name
          )}
        >
          {cluster.name}
        </button>
        <span className="jp-Offload-phase">{phaseWord(cluster.phase, trans)}</span>
        {!cluster.encrypted && <NotEncrypted />}
        <span className="jp-Offload-space" />
        <Since cluster={cluster} now={now} />
      </div>
      {isFinished(cluster) ? (
        <Outcome cluster={cluster} />
      ) : (
        <Present cluster={cluster} now={now} actions={actions} />
      )}
      {!isFinished(cluster) && <WorkerTable cluster={cluster} now={now} />}
      <History {...props} now={now} />
      <CardButtons cluster={cluster} actions={actions} />
    </li>
  );
});

function NotEncrypted(): JSX.Element {
  const trans = useTrans();
  return (
    <span
      className="jp-Offload-chip jp-mod-warn"
      title={trans.__('Clients, scheduler and workers talk without TLS.')}
    >
      {trans.__('not encrypted')}
    </span>
  );
}

/** Whether its time is still counted in seconds. */
function isYoung(cluster: Cluster): boolean {
  return !isFinished(cluster) && secondsBetween(cluster.phase_since, new Date()) < 60;
}

/** How long it is in this phase, or when it ended. */
function Since({ cluster, now }: { cluster: Cluster; now: Date }): JSX.Element {
  const trans = useTrans();
  if (isFinished(cluster)) {
    const at = cluster.phase_since;
    return (
      <time className="jp-Offload-time" dateTime={at} title={exactTime(at, trans)}>
        {clockTime(at, now, trans)}
      </time>
    );
  }
  const isWaiting = cluster.phase === 'pending' || cluster.phase === 'starting';
  return <Elapsed since={isWaiting ? cluster.created_at : cluster.phase_since} now={now} />;
}

/** A finished cluster: why, what to do about it, and that nothing is left. */
function Outcome({ cluster }: { cluster: Cluster }): JSX.Element {
  const trans = useTrans();
  const { message, hint } = cluster.reason;
  const left = cluster.workers.connected + cluster.workers.starting;
  const atSite = cluster.left_at_site;
  return (
    <>
      <div className={cluster.phase === 'failed' ? 'jp-Offload-fault' : 'jp-Offload-dim'}>
        <Message text={message} />
      </div>
      <p className="jp-Offload-dim">
        {hint ? `${hint} ` : ''}
        {atSite.length > 0
          ? trans.__('Still being deleted at the site: %1.', atSite.join('; '))
          : left === 0
            ? trans.__('Nothing of it is left running.')
            : trans._n(
                '%1 worker is still being cleared away.',
                '%1 workers are still being cleared away.',
                left
              )}
      </p>
      <p className="jp-Offload-dim">{placeWords(cluster, trans)}</p>
    </>
  );
}

/** Reasons that the other lines of the card say already. */
const PLAIN_REASONS = new Set(['all-workers', 'accepted']);

interface IPresentProps {
  cluster: Cluster;
  now: Date;
  actions: ICardActions;
}

/** An unfinished cluster: where, how much arrived, what it waits for, how busy, when it ends. */
function Present({ cluster, now, actions }: IPresentProps): JSX.Element {
  const trans = useTrans();
  const isWaiting = cluster.phase === 'pending' || cluster.phase === 'starting';
  const { reason } = cluster;
  return (
    <>
      <p className="jp-Offload-dim">{placeWords(cluster, trans)}</p>
      {cluster.phase !== 'pending' && <Meter cluster={cluster} />}
      {!isWaiting && <p className="jp-Offload-dim">{arrivedWords(cluster, trans)}</p>}
      {!isWaiting && !PLAIN_REASONS.has(reason.code) && (
        <div className="jp-Offload-reason">
          <Message text={reason.message} hint={reason.hint} />
        </div>
      )}
      <Waiting cluster={cluster} now={now} />
      {cluster.phase === 'running' && <Busy cluster={cluster} />}
      {cluster.phase === 'running' && <Ending cluster={cluster} now={now} actions={actions} />}
      {cluster.ends_with_server && (
        <p
          className="jp-Offload-note"
          title={trans.__('The Hub ends this cluster together with your Jupyter server.')}
        >
          {trans.__('ends with this server')}
        </p>
      )}
    </>
  );
}

function Busy({ cluster }: { cluster: Cluster }): JSX.Element {
  const trans = useTrans();
  const { usage } = cluster;
  const busy = Math.round(100 * usage.busy_fraction);
  const title = trans.__(
    '%1 of %2 cores compute; %3 tasks done, %4 waiting; clients: %5',
    Math.round(usage.busy_fraction * usage.cores),
    usage.cores,
    usage.tasks_done,
    usage.tasks_waiting,
    usage.clients
  );
  return (
    <p className="jp-Offload-dim jp-Offload-usage" title={title}>
      <span>{trans.__('CPU %1 % busy', busy)}</span>
      {usage.memory_bytes > 0 && (
        <>
          {' · '}
          <span>
            {trans.__(
              'memory %1',
              formatBytesOf(usage.memory_used_bytes, usage.memory_bytes, trans)
            )}
          </span>
        </>
      )}
    </p>
  );
}

function Ending({ cluster, now, actions }: IPresentProps): JSX.Element | null {
  const trans = useTrans();
  const words = endWords(cluster, now, trans);
  if (!words || !cluster.end) {
    // While it computes, the time of an end by idleness is not known yet.
    const idle = cluster.spec.idle_timeout_s ?? cluster.profile.idle_timeout_s ?? 0;
    return (
      <p className="jp-Offload-dim">
        {idle > 0
          ? trans.__('ends when idle for %1', formatDuration(idle, trans))
          : trans.__('no end set')}
      </p>
    );
  }
  const isNear = -secondsBetween(cluster.end.at, now) < NEAR_END_S;
  return (
    <p className={isNear ? 'jp-Offload-reason' : 'jp-Offload-dim'} title={words.title}>
      <time dateTime={cluster.end.at}>{words.text}</time>
      {isNear && (
        <IconButton
          label={trans.__('Extend…')}
          of={cluster.name}
          onClick={() => actions.extend(cluster.id)}
        />
      )}
    </p>
  );
}

/** A starting cluster shows its timeline by itself; others fold it away. */
function History({ cluster, readTimeline, now }: ICardProps & { now: Date }): JSX.Element {
  const trans = useTrans();
  const [isOpen, setOpen] = useState(false);
  const isWaiting = cluster.phase === 'pending' || cluster.phase === 'starting';
  const timeline = (
    <Timeline cluster={cluster} read={readTimeline} now={now} limit={CARD_ENTRIES} />
  );
  if (isWaiting) {
    return timeline;
  }
  return (
    <details
      className="jp-Offload-history"
      open={isOpen}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>{trans.__('What happened')}</summary>
      {isOpen && timeline}
    </details>
  );
}
