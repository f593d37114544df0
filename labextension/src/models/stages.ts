import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster, Worker, WorkerStage } from '../api/types';

/** Workers at the same point of their way, for the same reason. */
export interface IStageGroup {
  key: string;
  stage: WorkerStage;
  isLost: boolean;
  workers: Worker[];
  /** Why they wait or were lost, as the site says it; null when nothing is to be said. */
  message: string | null;
  hint: string | null;
  /** Since when the first of them is there. */
  since: string | null;
  /** When the first of them is given up. */
  deadline: string | null;
}

/** The least far comes first: it is what is waited for. */
const ORDER: WorkerStage[] = [
  'submitted',
  'scheduled',
  'accepted',
  'queued',
  'started',
  'registered',
  'proven'
];

export function stageWord(stage: WorkerStage, trans: TranslationBundle): string {
  const words: Record<WorkerStage, string> = {
    submitted: trans.__('asked for'),
    scheduled: trans.__('given to the site'),
    accepted: trans.__('taken by the site'),
    queued: trans.__('in the queue of the site'),
    started: trans.__('started'),
    registered: trans.__('registered'),
    proven: trans.__('connected')
  };
  return words[stage];
}

/** Whether a cluster's workers are at a remote site, so that they have stages. */
export function hasStages(cluster: Cluster): boolean {
  return cluster.worker_list.some(it => it.stage !== null);
}

/** Workers that are not connected, lost ones first, then the least far. */
export function waitingGroups(workers: readonly Worker[]): IStageGroup[] {
  const groups = new Map<string, IStageGroup>();
  for (const worker of workers) {
    if (worker.stage === null || worker.stage === 'proven') {
      continue;
    }
    const isLost = worker.state === 'lost';
    if (worker.state === 'retiring') {
      continue;
    }
    const key = `${isLost ? 'lost' : worker.stage} ${worker.code ?? ''}`;
    const group = groups.get(key);
    if (group) {
      group.workers.push(worker);
      group.since = earlier(group.since, worker.stage_since);
      group.deadline = earlier(group.deadline, worker.deadline_at);
    } else {
      groups.set(key, {
        key,
        stage: worker.stage,
        isLost,
        workers: [worker],
        message: worker.message,
        hint: worker.hint,
        since: worker.stage_since,
        deadline: worker.deadline_at
      });
    }
  }
  return [...groups.values()].sort(
    (a, b) =>
      Number(b.isLost) - Number(a.isLost) || ORDER.indexOf(a.stage) - ORDER.indexOf(b.stage)
  );
}

/** How many and where, such as "2 in the queue of the site". */
export function groupWords(group: IStageGroup, trans: TranslationBundle): string {
  const count = group.workers.length;
  return group.isLost
    ? trans._n('%1 lost', '%1 lost', count)
    : trans.__('%1 %2', count, stageWord(group.stage, trans));
}

function earlier(a: string | null, b: string | null): string | null {
  if (a === null || b === null) {
    return a ?? b;
  }
  return Date.parse(a) <= Date.parse(b) ? a : b;
}
