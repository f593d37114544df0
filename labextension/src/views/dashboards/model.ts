import { type ISignal, Signal } from '@lumino/signaling';
import type { Cluster, IClusterModel, OffloadProblem } from '../../tokens';
import { plotKey, plotTitle } from './plots';
import type { DashboardAccess, DashboardAccesses } from './ticket';

/** What a pane shows. */
export type PaneState =
  | { kind: 'looking' }
  | { kind: 'waiting'; cluster: Cluster }
  | { kind: 'opening'; cluster: Cluster }
  | { kind: 'showing'; cluster: Cluster; src: string }
  | { kind: 'unreachable'; cluster: Cluster; problem: OffloadProblem }
  | { kind: 'ended'; cluster: Cluster }
  | { kind: 'gone' };

/** One plot of one cluster: follows the cluster, holds the ticket, decides what is shown. */
export class PaneModel {
  constructor(options: IPaneModelOptions) {
    this._options = options;
    this._plot = plotKey(options.plot);
    this._access = options.accesses.acquire(options.id);
    this._access.changed.connect(this._update, this);
    options.clusters.changed.connect(this._update, this);
    this._update();
  }

  get id(): string {
    return this._options.id;
  }

  /** Path of the plot below the dashboard's root. */
  get plot(): string {
    return this._plot;
  }

  set plot(path: string) {
    if (plotKey(path) !== this._plot) {
      this._plot = plotKey(path);
      this.reload();
      this._changed.emit();
      this._plotChanged.emit();
    }
  }

  get plotTitle(): string {
    return plotTitle(this._plot);
  }

  /** The cluster as it was seen last, also when it is no longer in the list. */
  get cluster(): Cluster | null {
    return this._cluster;
  }

  get state(): PaneState {
    return this._state;
  }

  /** Emitted when the plot, the cluster or the state is another one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Emitted when another plot was chosen. */
  get plotChanged(): ISignal<this, void> {
    return this._plotChanged;
  }

  /** Ask for a new ticket, and load the frame with it. */
  retry(): void {
    this._access.renew();
  }

  /** Load the frame anew. */
  reload(): void {
    this._src = null;
    this._update();
  }

  dispose(): void {
    const { accesses, clusters, id } = this._options;
    this._isDisposed = true;
    clusters.changed.disconnect(this._update, this);
    this._access.changed.disconnect(this._update, this);
    accesses.release(id);
    Signal.clearData(this);
  }

  private _update(): void {
    if (this._isDisposed) {
      return;
    }
    const { clusters, id } = this._options;
    const cluster = clusters.clusters.find(it => it.id === id);
    const old = JSON.stringify([this._state, this._cluster?.name]);
    if (cluster) {
      this._cluster = cluster;
    }
    this._state = this._decide(cluster);
    if (JSON.stringify([this._state, this._cluster?.name]) !== old) {
      this._changed.emit();
    }
  }

  private _decide(cluster: Cluster | undefined): PaneState {
    const access = this._access;
    if (!cluster) {
      access.stop();
      return this._options.clusters.isReady ? { kind: 'gone' } : { kind: 'looking' };
    }
    if (cluster.phase === 'stopped' || cluster.phase === 'failed') {
      access.stop();
      this._src = null;
      return { kind: 'ended', cluster };
    }
    // A frame that is open stays open: "cannot see" for a moment is not the end.
    if (!cluster.dashboard && this._src === null) {
      return { kind: 'waiting', cluster };
    }
    access.start();
    if (access.problem) {
      this._src = null;
      return { kind: 'unreachable', cluster, problem: access.problem };
    }
    if (access.path === null) {
      return { kind: 'opening', cluster };
    }
    if (this._src === null || this._epoch !== access.epoch) {
      this._epoch = access.epoch;
      this._src = this._options.urlOf(access.path, this._plot);
    }
    return { kind: 'showing', cluster, src: this._src };
  }

  private readonly _options: IPaneModelOptions;
  private readonly _access: DashboardAccess;
  private readonly _changed = new Signal<this, void>(this);
  private readonly _plotChanged = new Signal<this, void>(this);
  private _plot: string;
  private _cluster: Cluster | null = null;
  private _state: PaneState = { kind: 'looking' };
  private _src: string | null = null;
  private _epoch = -1;
  private _isDisposed = false;
}

export interface IPaneModelOptions {
  id: string;
  plot: string;
  clusters: Pick<IClusterModel, 'clusters' | 'isReady' | 'changed'>;
  accesses: DashboardAccesses;
  /** URL of a plot's page, from a ticket's path. */
  urlOf: (ticketPath: string, plot: string) => string;
}
