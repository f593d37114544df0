import { nullTranslator, type TranslationBundle } from '@jupyterlab/translation';
import { PromiseDelegate } from '@lumino/coreutils';
import { DisposableDelegate, type IDisposable } from '@lumino/disposable';
import { Poll } from '@lumino/polling';
import { type ISignal, Signal } from '@lumino/signaling';
import type { OffloadClient } from '../api/client';
import { OffloadProblem } from '../api/problem';
import type {
  Adaptive,
  Cluster,
  ClusterChangeInput,
  ClusterSpecInput,
  Connection,
  DashboardPlot,
  DashboardTicket,
  Environment,
  Finding,
  LogChunk,
  LogSource,
  Preview,
  Site,
  TimelineEntry
} from '../api/types';
import type { IClusterModel } from '../tokens';
import { askedCluster, newId } from './asked';
import { ClusterStore, isFinished } from './store';

/** Interval of the safety net; changes are pushed by events. */
export const SLOW_INTERVAL_MS = 30_000;

/** Keeps the client's copy of clusters and sites in step with the server. No React, no DOM. */
export class ClusterModel implements IClusterModel, IDisposable {
  constructor(options: ClusterModel.IOptions) {
    this._client = options.client;
    this._trans = options.trans ?? nullTranslator.load('jupyter_offload');
    if (options.poll !== false) {
      this._startPolls(options.standby ?? 'when-hidden');
    }
  }

  get clusters(): readonly Cluster[] {
    return this._store.clusters;
  }

  get sites(): readonly Site[] {
    return this._sites;
  }

  get areSitesKnown(): boolean {
    return this._areSitesKnown;
  }

  get revision(): number {
    return this._store.revision;
  }

  get isReady(): boolean {
    return this._isReady;
  }

  get ready(): Promise<void> {
    return this._ready.promise;
  }

  get error(): OffloadProblem | null {
    return this._error;
  }

  get heardAt(): number | null {
    return this._heardAt;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  get clusterChanged(): ISignal<this, IClusterModel.IClusterChange> {
    return this._clusterChanged;
  }

  get selected(): string | null {
    return this._selected;
  }

  set selected(id: string | null) {
    if (id !== this._selected) {
      this._selected = id;
      this._selectedChanged.emit(id);
      this._changed.emit();
    }
  }

  get selectedChanged(): ISignal<this, string | null> {
    return this._selectedChanged;
  }

  /** Say that somebody looks, until disposed: usage numbers are not pushed. */
  watch(): IDisposable {
    this._watchers += 1;
    if (this._watchers === 1) {
      this._adjustPoll();
      void this.refresh();
      void this.refreshSites();
    }
    return new DisposableDelegate(() => {
      this._watchers -= 1;
      this._adjustPoll();
    });
  }

  /** Interval while somebody looks and a cluster is unfinished. */
  get fastIntervalMs(): number {
    return this._fastIntervalMs;
  }

  set fastIntervalMs(value: number) {
    this._fastIntervalMs = value;
    this._adjustPoll();
  }

  /** Interval of the moment. */
  get intervalMs(): number {
    return this._watchers > 0 && this.clusters.some(it => !isFinished(it))
      ? this._fastIntervalMs
      : SLOW_INTERVAL_MS;
  }

  get isDisposed(): boolean {
    return this._isDisposed;
  }

  dispose(): void {
    this._isDisposed = true;
    this._poll?.dispose();
    this._sitePoll?.dispose();
    Signal.clearData(this);
  }

  get(idOrName: string): Cluster | undefined {
    const { clusters } = this;
    return (
      clusters.find(it => it.id === idOrName) ??
      clusters.find(it => it.name === idOrName && !isFinished(it)) ??
      clusters.find(it => it.name === idOrName)
    );
  }

  isAsked(id: string): boolean {
    return this._store.isAsked(id);
  }

  /** Ask for the list. A call while one is under way leads to one more request, since that answer may be older. */
  refresh(): Promise<void> {
    if (this._refreshing) {
      this._isStale = true;
      return this._refreshing;
    }
    this._refreshing = this._refresh().finally(() => {
      this._refreshing = null;
    });
    return this._refreshing;
  }

  async refreshSites(): Promise<void> {
    try {
      this._sites = await this._client.listSites();
      this._areSitesKnown = true;
      this._changed.emit();
    } catch (error) {
      // The list of clusters says when the server is not there; sites then are as heard last.
      console.debug('Offload: sites could not be listed.', error);
    }
  }

  environments(refresh = false): Promise<Environment[]> {
    if (refresh || !this._environments) {
      const asked = this._client.listEnvironments(refresh);
      this._environments = asked;
      asked.catch(() => {
        this._environments = null;
      });
    }
    return this._environments;
  }

  async create(spec: ClusterSpecInput): Promise<Cluster> {
    const id = newId();
    const message = this._trans.__('Asking the server.');
    this._store.ask(askedCluster(id, spec, this._sites, message, new Date()));
    this._emit();
    try {
      return this._take(await this._createOnce(id, spec));
    } catch (error) {
      this._store.refuse(id);
      this._emit();
      throw error;
    }
  }

  preview(spec: ClusterSpecInput): Promise<Preview> {
    return this._client.previewCluster(spec);
  }

  scale(id: string, workers: number): Promise<Cluster> {
    return this._change(id, { workers, adaptive: null });
  }

  adapt(id: string, adaptive: Adaptive): Promise<Cluster> {
    return this._change(id, { adaptive });
  }

  extend(id: string, limits: IClusterModel.ILimits): Promise<Cluster> {
    return this._change(id, limits);
  }

  async stop(id: string): Promise<void> {
    const cluster = await this._client.deleteCluster(id);
    if (cluster) {
      this._take(cluster);
    }
    void this.refresh();
  }

  async forget(id: string): Promise<void> {
    await this._client.deleteCluster(id);
    this._store.forget(id);
    this._emit();
    void this.refresh();
  }

  async startAgain(id: string): Promise<Cluster> {
    const cluster = this.get(id) ?? (await this._client.getCluster(id));
    return this.create(cluster.spec);
  }

  async checkSite(site: string): Promise<Finding[]> {
    const { findings } = await this._client.checkSite(site);
    void this.refreshSites();
    return findings;
  }

  connection(id: string): Promise<Connection> {
    return this._client.clusterConnection(id);
  }

  logs(id: string): Promise<LogSource[]> {
    return this._client.listLogs(id);
  }

  readLog(id: string, source: string, offset: number, limit: number): Promise<LogChunk> {
    return this._client.readLog(id, source, offset, limit);
  }

  timeline(id: string): Promise<TimelineEntry[]> {
    return this._client.clusterTimeline(id);
  }

  async plots(id: string): Promise<DashboardPlot[]> {
    return (await this._client.clusterDashboard(id)).plots;
  }

  ticket(id: string): Promise<DashboardTicket> {
    return this._client.dashboardTicket(id);
  }

  private _startPolls(standby: Poll.Standby | (() => boolean | Poll.Standby)): void {
    this._poll = new Poll({
      name: 'jupyter-offload:clusters',
      auto: true,
      frequency: { interval: SLOW_INTERVAL_MS, backoff: true, max: SLOW_INTERVAL_MS },
      standby,
      factory: async () => {
        await this.refresh();
        if (this._error) {
          throw this._error; // so that the poll backs off
        }
      }
    });
    this._sitePoll = new Poll({
      name: 'jupyter-offload:sites',
      auto: true,
      frequency: { interval: SLOW_INTERVAL_MS, backoff: true },
      standby,
      factory: () => this.refreshSites()
    });
  }

  private async _refresh(): Promise<void> {
    do {
      this._isStale = false;
      const askedAt = this._store.revision;
      try {
        const list = await this._client.listClusters();
        this._error = null;
        this._heardAt = Date.now();
        this._store.applyList(list, askedAt);
        if (!this._isReady) {
          this._isReady = true;
          this._ready.resolve();
        }
      } catch (error) {
        this._error = OffloadProblem.from(error);
        this._isStale = false;
      }
      if (this._isDisposed) {
        return;
      }
      this._emit();
    } while (this._isStale);
  }

  /** The id makes a repetition harmless, so one lost answer is no lost cluster. */
  private async _createOnce(id: string, spec: ClusterSpecInput): Promise<Cluster> {
    try {
      return await this._client.createCluster(id, spec);
    } catch (error) {
      if (error instanceof OffloadProblem && error.transient) {
        return this._client.createCluster(id, spec);
      }
      throw error;
    }
  }

  private async _change(id: string, change: ClusterChangeInput): Promise<Cluster> {
    return this._take(await this._client.changeCluster(id, change));
  }

  private _take(cluster: Cluster): Cluster {
    this._store.applyOne(cluster);
    this._emit();
    return cluster;
  }

  private _emit(): void {
    const changes = this._store.update();
    for (const change of changes) {
      this._clusterChanged.emit(change);
    }
    if (this._selected !== null && !this.clusters.some(it => it.id === this._selected)) {
      this.selected = null;
    }
    this._adjustPoll();
    this._changed.emit();
  }

  private _adjustPoll(): void {
    const poll = this._poll;
    const interval = this.intervalMs;
    if (!poll || poll.isDisposed || poll.frequency.interval === interval) {
      return;
    }
    const isFaster = interval < poll.frequency.interval;
    poll.frequency = { ...poll.frequency, interval };
    if (isFaster) {
      void poll.schedule({ phase: 'started', interval });
    }
  }

  private readonly _client: OffloadClient;
  private readonly _trans: TranslationBundle;
  private readonly _store = new ClusterStore();
  private readonly _ready = new PromiseDelegate<void>();
  private readonly _changed = new Signal<this, void>(this);
  private readonly _clusterChanged = new Signal<this, IClusterModel.IClusterChange>(this);
  private readonly _selectedChanged = new Signal<this, string | null>(this);
  private _sites: readonly Site[] = [];
  private _areSitesKnown = false;
  private _environments: Promise<Environment[]> | null = null;
  private _error: OffloadProblem | null = null;
  private _heardAt: number | null = null;
  private _selected: string | null = null;
  private _isReady = false;
  private _watchers = 0;
  private _isStale = false;
  private _isDisposed = false;
  private _fastIntervalMs = 2000;
  private _refreshing: Promise<void> | null = null;
  private _poll: Poll | null = null;
  private _sitePoll: Poll | null = null;
}

export namespace ClusterModel {
  export interface IOptions {
    client: OffloadClient;
    trans?: TranslationBundle;
    /** False in tests that refresh by hand. */
    poll?: boolean;
    standby?: Poll.Standby | (() => boolean | Poll.Standby);
  }
}
