import { Token } from '@lumino/coreutils';
import type { IDisposable } from '@lumino/disposable';
import type { ISignal } from '@lumino/signaling';
import type { OffloadProblem } from './api/problem';
import type {
  Adaptive,
  Cluster,
  ClusterSpecInput,
  Connection,
  DashboardPlot,
  DashboardTicket,
  Environment,
  LogChunk,
  LogSource,
  Preview,
  Site,
  TimelineEntry
} from './api/types';

export * from './api/types';
export { OffloadProblem } from './api/problem';

/** Domain of all translations of this package. */
export const TRANSLATION_DOMAIN = 'jupyter_offload';

/** Plugin whose settings (`schema/plugin.json`) are those of the whole extension. */
export const SETTINGS_ID = 'jupyter-offload:plugin';

/** Commands of the extension; all arguments are optional unless said, `id` is a cluster's id or name. */
export namespace CommandIDs {
  /** Show the left panel. */
  export const openPanel = 'offload:open-panel';
  /**
   * Open the New-cluster dialog; `spec` fills it in, `attach: false` does not offer to attach the current notebook.
   * Resolves to the new cluster's id or null.
   */
  export const newCluster = 'offload:new-cluster';
  export const refresh = 'offload:refresh';
  /** `{id}`; without an id the selected cluster, then the only running one. The same for all below. */
  export const scale = 'offload:scale';
  export const extend = 'offload:extend';
  export const stop = 'offload:stop';
  export const startAgain = 'offload:start-again';
  export const forget = 'offload:forget';
  export const copyName = 'offload:copy-name';
  /** `{id, source?}` */
  export const openLogs = 'offload:open-logs';
  export const openTimeline = 'offload:open-timeline';
  /** `{id}`: put the client cell where the active cell of the current notebook is. */
  export const insertClient = 'offload:insert-client';
  /** `{id}`: resolves to the text of the client cell (used by drag and drop). */
  export const clientCode = 'offload:client-code';
  /** `{id?}`: attach the current notebook to a cluster; without an id it asks. */
  export const attachNotebook = 'offload:attach-notebook';
  export const detachNotebook = 'offload:detach-notebook';
  /** `{again?}`: ask for a new cluster, of the spec of an ended one, and attach the current notebook to it. */
  export const attachNewCluster = 'offload:attach-new-cluster';
  /** Try again after attaching the current notebook failed. */
  export const retryAttachment = 'offload:retry-attachment';
  /** Show where the attachment of the current notebook stands and why. */
  export const explainAttachment = 'offload:explain-attachment';
  /** `{id, plot?}`: open a Dask dashboard page as a pane, by its path; without a plot it asks. */
  export const openDashboard = 'offload:open-dashboard';
  /** `{id}`: open the panes of the default layout. */
  export const defaultLayout = 'offload:default-layout';
}

/**
 * The clusters and sites of this user as last heard from the server, and what can be done with them.
 *
 * All actions reject with `OffloadProblem`.
 */
export interface IClusterModel {
  /** Newest first. A cluster just asked for is in it at once, before the server answered. */
  readonly clusters: readonly Cluster[];
  readonly sites: readonly Site[];
  /** Whether the server has said once which sites there are; before, an empty list means nothing. */
  readonly areSitesKnown: boolean;
  /** Revision of the store that `clusters` shows; -1 before the first answer. */
  readonly revision: number;
  /** Whether the server has answered once. */
  readonly isReady: boolean;
  /** Resolves when the server has answered once. */
  readonly ready: Promise<void>;
  /** Why the last refresh failed; null when it succeeded. `clusters` then is what was seen last. */
  readonly error: OffloadProblem | null;
  /** When the server was last heard (milliseconds since 1970); null before. */
  readonly heardAt: number | null;

  /** Emitted when any of the above changes. */
  readonly changed: ISignal<IClusterModel, void>;
  /** Emitted once for each cluster that came, changed or went, before `changed`. */
  readonly clusterChanged: ISignal<IClusterModel, IClusterModel.IClusterChange>;

  /** Id of the cluster whose card is selected: the one that dashboards and `< >` mean. */
  selected: string | null;
  readonly selectedChanged: ISignal<IClusterModel, string | null>;

  /** Say that somebody looks at usage numbers, until disposed; they are fetched often only then. */
  watch(): IDisposable;
  /** Interval of that, in milliseconds. */
  fastIntervalMs: number;

  /** Return a cluster by id, or by name: an unfinished one first, then the newest. */
  get(idOrName: string): Cluster | undefined;
  refresh(): Promise<void>;
  refreshSites(): Promise<void>;
  environments(refresh?: boolean): Promise<Environment[]>;

  create(spec: ClusterSpecInput): Promise<Cluster>;
  preview(spec: ClusterSpecInput): Promise<Preview>;
  /** Ask for so many workers; ends adaptive scaling. */
  scale(id: string, workers: number): Promise<Cluster>;
  /** Let the number of workers follow the work. */
  adapt(id: string, adaptive: Adaptive): Promise<Cluster>;
  /** Change when the cluster ends by itself: seconds idle, seconds since it was created; 0 = never. */
  extend(id: string, limits: IClusterModel.ILimits): Promise<Cluster>;
  /** Ask for the end; the card stays until it is forgotten. */
  stop(id: string): Promise<void>;
  /** Remove a finished cluster with its logs. */
  forget(id: string): Promise<void>;
  /** A new cluster of the same spec. */
  startAgain(id: string): Promise<Cluster>;

  connection(id: string): Promise<Connection>;
  logs(id: string): Promise<LogSource[]>;
  readLog(id: string, source: string, offset: number, limit: number): Promise<LogChunk>;
  timeline(id: string): Promise<TimelineEntry[]>;
  plots(id: string): Promise<DashboardPlot[]>;
  ticket(id: string): Promise<DashboardTicket>;
}

export namespace IClusterModel {
  export interface IClusterChange {
    type: 'added' | 'changed' | 'removed';
    id: string;
    old: Cluster | null;
    now: Cluster | null;
  }

  export interface ILimits {
    idle_timeout_s?: number;
    lifetime_s?: number;
  }
}

export const IClusterModel = new Token<IClusterModel>(
  'jupyter-offload:IClusterModel',
  'The clusters and sites of this user, and what can be done with them.'
);
