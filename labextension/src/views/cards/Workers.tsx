import { useState } from 'react';
import type { Cluster, Worker } from '../../api/types';
import { exactTime, formatDuration, secondsBetween } from '../../models/quantities';
import {
  groupWords,
  hasStages,
  type IStageGroup,
  stageWord,
  waitingGroups
} from '../../models/stages';
import { useTrans } from '../shared/context';

/** Rows of the list of workers; the command line has all of them. */
const ROWS = 100;

interface IProps {
  cluster: Cluster;
  now: Date;
}

/** Where workers at a remote site are on their way and what they wait for; nothing for local ones. */
export function Waiting({ cluster, now }: IProps): JSX.Element | null {
  const trans = useTrans();
  const groups = waitingGroups(cluster.worker_list);
  if (groups.length === 0) {
    return null;
  }
  return (
    <ul
      className="jp-Offload-stages"
      aria-label={trans.__('What the workers of %1 wait for', cluster.name)}
    >
      {groups.map(group => (
        <Group key={group.key} group={group} reason={cluster.reason.message} now={now} />
      ))}
    </ul>
  );
}

function Group({
  group,
  reason,
  now
}: {
  group: IStageGroup;
  reason: string;
  now: Date;
}): JSX.Element {
  const trans = useTrans();
  // The card's own reason says it already, as a rule.
  const isSaid = group.message !== null && reason.includes(group.message);
  const left = group.deadline === null ? null : -secondsBetween(group.deadline, now);
  return (
    <li className={group.isLost ? 'jp-mod-lost' : undefined} data-stage={group.stage}>
      <span className="jp-Offload-stageHead">
        <span>{groupWords(group, trans)}</span>
        {group.since !== null && (
          <span className="jp-Offload-dim" title={exactTime(group.since, trans)}>
            {trans.__('for %1', formatDuration(secondsBetween(group.since, now), trans))}
          </span>
        )}
        {left !== null && !group.isLost && (
          <span className="jp-Offload-dim" title={exactTime(group.deadline!, trans)}>
            {left > 0
              ? trans.__('given up in %1', formatDuration(left, trans))
              : trans.__('about to be given up')}
          </span>
        )}
      </span>
      {group.message !== null && !isSaid && (
        <span className="jp-Offload-stageWhy">
          {group.message}
          {group.hint ? ` ${group.hint}` : ''}
        </span>
      )}
    </li>
  );
}

/** Each worker of a remote site with its number there, for the curious. */
export function WorkerTable({ cluster, now }: IProps): JSX.Element | null {
  const trans = useTrans();
  const [isOpen, setOpen] = useState(false);
  if (!hasStages(cluster)) {
    return null;
  }
  const workers = cluster.worker_list;
  return (
    <details
      className="jp-Offload-history"
      open={isOpen}
      onToggle={event => setOpen(event.currentTarget.open)}
    >
      <summary>{trans.__('Workers')}</summary>
      {isOpen && (
        <ul className="jp-Offload-workers" aria-label={trans.__('Workers of %1', cluster.name)}>
          {workers.slice(0, ROWS).map(worker => (
            <Row key={worker.name} worker={worker} now={now} />
          ))}
          {workers.length > ROWS && (
            <li className="jp-Offload-dim">{trans.__('and %1 more', workers.length - ROWS)}</li>
          )}
        </ul>
      )}
    </details>
  );
}

function Row({ worker, now }: { worker: Worker; now: Date }): JSX.Element {
  const trans = useTrans();
  const facts: string[] = [];
  if (worker.site_id !== null) facts.push(worker.site_id);
  if (worker.round_trip_s !== null) {
    facts.push(trans.__('round trip %1 ms', (worker.round_trip_s * 1000).toFixed(1)));
  }
  const versions = Object.entries(worker.versions).map(
    ([name, version]) => `${name} ${version}`
  );
  const word =
    worker.state === 'lost'
      ? trans.__('lost')
      : worker.state === 'retiring'
        ? trans.__('leaving')
        : worker.stage
          ? stageWord(worker.stage, trans)
          : worker.state;
  return (
    <li className={worker.state === 'lost' ? 'jp-mod-lost' : undefined}>
      <span className="jp-Offload-workerName" title={versions.join(', ')}>
        {worker.name}
      </span>
      <span className="jp-Offload-workerStage">
        {word}
        {worker.stage_since !== null && (
          <span className="jp-Offload-dim" title={exactTime(worker.stage_since, trans)}>
            {' '}
            {formatDuration(secondsBetween(worker.stage_since, now), trans)}
          </span>
        )}
      </span>
      {facts.length > 0 && (
        <span className="jp-Offload-dim jp-Offload-workerFacts">{facts.join(' · ')}</span>
      )}
      {worker.message !== null && <span className="jp-Offload-stageWhy">{worker.message}</span>}
    </li>
  );
}
