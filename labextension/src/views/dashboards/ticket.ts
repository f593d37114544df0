import { type ISignal, Signal } from '@lumino/signaling';
import { OffloadProblem } from '../../api/problem';
import type { DashboardTicket } from '../../api/types';

/** Renew no more often than this, whatever the server's clock says. */
const MINIMUM_PERIOD_MS = 30_000;
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 60_000;

/**
 * The right to show one cluster's dashboards, renewed while somebody holds it.
 *
 * `epoch` counts the times that a frame opened before can no longer be alive: the ticket lapsed (the machine slept, the
 * server was away), so that frames need the new path. A renewal in time keeps what is open open.
 */
export class DashboardAccess {
  constructor(issue: () => Promise<DashboardTicket>) {
    this._issue = issue;
  }

  /** Path below the server's base URL; null before the first ticket. */
  get path(): string | null {
    return this._path;
  }

  get epoch(): number {
    return this._epoch;
  }

  /** Why there is no valid ticket now; null while there is one, or the first is on its way. */
  get problem(): OffloadProblem | null {
    return this._problem;
  }

  /** Emitted when path, epoch or problem is another one. */
  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** Ask for tickets from now on. */
  start(): void {
    if (!this._isStarted) {
      this._isStarted = true;
      void this._renew();
    }
  }

  /** Ask for no more tickets; what there was is forgotten. */
  stop(): void {
    this._isStarted = false;
    this._generation += 1;
    clearTimeout(this._timer);
    this._path = null;
    this._validUntil = 0;
    this._problem = null;
    this._retryMs = FIRST_RETRY_MS;
  }

  /** Frames are dead or dying: ask now, and give them the new path. */
  renew(): void {
    if (this._isStarted) {
      this._validUntil = 0;
      void this._renew();
    }
  }

  /** The connection to the server was lost, and that of the frames with it: ask soon, when the server may be back. */
  suspect(): void {
    if (this._isStarted) {
      this._validUntil = 0;
      clearTimeout(this._timer);
      this._later(this._retryMs);
    }
  }

  dispose(): void {
    this.stop();
    Signal.clearData(this);
  }

  private async _renew(): Promise<void> {
    this._generation += 1;
    const generation = this._generation;
    clearTimeout(this._timer);
    const askedAt = Date.now();
    let ticket: DashboardTicket | null = null;
    let problem: OffloadProblem | null = null;
    try {
      ticket = await this._issue();
    } catch (error) {
      problem = OffloadProblem.from(error);
    }
    if (generation !== this._generation) {
      return;
    }
    if (ticket) {
      this._accept(ticket, askedAt);
    } else {
      this._refuse(problem);
    }
  }

  private _accept(ticket: DashboardTicket, askedAt: number): void {
    if (this._validUntil < askedAt) {
      this._epoch += 1;
    }
    // The clocks of server and browser may differ: only a sensible rest of life is believed.
    const rest = Math.max(Date.parse(ticket.expires_at) - askedAt || 0, 2 * MINIMUM_PERIOD_MS);
    this._path = ticket.path;
    this._problem = null;
    this._validUntil = askedAt + rest;
    this._retryMs = FIRST_RETRY_MS;
    this._later(rest / 2);
    this._changed.emit();
  }

  private _refuse(problem: OffloadProblem | null): void {
    // While the last ticket holds, frames are alive and nobody needs to know.
    this._problem = this._validUntil > Date.now() ? null : problem;
    this._later(this._retryMs);
    this._retryMs = Math.min(2 * this._retryMs, LONGEST_RETRY_MS);
    this._changed.emit();
  }

  private _later(delayMs: number): void {
    this._timer = setTimeout(() => void this._renew(), delayMs);
  }

  private readonly _issue: () => Promise<DashboardTicket>;
  private readonly _changed = new Signal<this, void>(this);
  private _path: string | null = null;
  private _epoch = 0;
  private _problem: OffloadProblem | null = null;
  /** In the browser's clock. */
  private _validUntil = 0;
  private _retryMs = FIRST_RETRY_MS;
  private _timer: ReturnType<typeof setTimeout> | undefined;
  private _isStarted = false;
  private _generation = 0;
}

/** One access for each cluster, shared by its panes. */
export class DashboardAccesses {
  constructor(issue: (id: string) => Promise<DashboardTicket>) {
    this._issue = issue;
  }

  acquire(id: string): DashboardAccess {
    let held = this._held.get(id);
    if (!held) {
      held = { access: new DashboardAccess(() => this._issue(id)), users: 0 };
      this._held.set(id, held);
    }
    held.users += 1;
    return held.access;
  }

  release(id: string): void {
    const held = this._held.get(id);
    if (held) {
      held.users -= 1;
      if (held.users === 0) {
        held.access.dispose();
        this._held.delete(id);
      }
    }
  }

  /** The connection to the server was lost. */
  suspectAll(): void {
    for (const { access } of this._held.values()) {
      access.suspect();
    }
  }

  private readonly _issue: (id: string) => Promise<DashboardTicket>;
  private readonly _held = new Map<string, { access: DashboardAccess; users: number }>();
}
