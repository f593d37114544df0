import type { TranslationBundle } from '@jupyterlab/translation';
import type { Cluster } from '../api/types';
import type { IClusterModel } from '../tokens';
import { checkCount, type FieldMessages } from './form';
import { FormState } from './formState';

interface IScaleForm {
  isAdaptive: boolean;
  workers: string;
  minimum: string;
  maximum: string;
}

/** The Scale dialog without its looks. */
export class ScaleState extends FormState<IScaleForm, Cluster> {
  constructor(
    private readonly _model: IClusterModel,
    readonly cluster: Cluster,
    private readonly _trans: TranslationBundle
  ) {
    const { adaptive } = cluster.spec;
    const { requested } = cluster.workers;
    super({
      isAdaptive: adaptive !== null,
      workers: String(requested),
      minimum: String(adaptive?.minimum ?? 0),
      maximum: String(
        adaptive?.maximum ??
          Math.min(Math.max(1, 2 * requested), cluster.profile.maximum_workers)
      )
    });
  }

  get limit(): number {
    return this.cluster.profile.maximum_workers;
  }

  protected check(): FieldMessages {
    const { isAdaptive, workers, minimum, maximum } = this.form;
    const messages: FieldMessages = {};
    const put = (field: string, message: string | null) => {
      if (message) {
        messages[field] = message;
      }
    };
    if (!isAdaptive) {
      put('workers', checkCount(workers, 0, this.limit, this._trans));
      return messages;
    }
    put('adaptive.minimum', checkCount(minimum, 0, this.limit, this._trans));
    put('adaptive.maximum', checkCount(maximum, 1, this.limit, this._trans));
    if (Object.keys(messages).length === 0 && Number(minimum) > Number(maximum)) {
      messages['adaptive.minimum'] = this._trans.__('%1 is above %2.', minimum, maximum);
    }
    return messages;
  }

  protected send(): Promise<Cluster> {
    const { isAdaptive, workers, minimum, maximum } = this.form;
    const { id } = this.cluster;
    return isAdaptive
      ? this._model.adapt(id, { minimum: Number(minimum), maximum: Number(maximum) })
      : this._model.scale(id, Number(workers));
  }
}

interface IExtendForm {
  /** Seconds; empty = as it is. */
  idleTimeout: string;
  /** Seconds from now; 0 = no end; empty = as it is. */
  lifetimeFromNow: string;
}

/** Choices of "from now", in seconds. */
export const EXTEND_CHOICES_S = [3600, 14_400, 43_200, 86_400, 0];

/** The Extend dialog without its looks. */
export class ExtendState extends FormState<IExtendForm, Cluster> {
  constructor(
    private readonly _model: IClusterModel,
    readonly cluster: Cluster,
    private readonly _trans: TranslationBundle
  ) {
    super({ idleTimeout: '', lifetimeFromNow: '' });
  }

  /** What holds now: the spec's, else the profile's; 0 = never. */
  get idleTimeoutS(): number {
    const { spec, profile } = this.cluster;
    return spec.idle_timeout_s ?? profile.idle_timeout_s ?? 0;
  }

  get lifetimeS(): number {
    const { spec, profile } = this.cluster;
    return spec.lifetime_s ?? profile.lifetime_s ?? 0;
  }

  /** The lifetime, counted from the start, that ends so long from now; 0 stays 0. */
  lifetimeFor(fromNowS: number): number {
    if (fromNowS === 0) {
      return 0;
    }
    const age = (Date.now() - new Date(this.cluster.created_at).getTime()) / 1000;
    return Math.round(age + fromNowS);
  }

  /** Whether the site lets a cluster live that long. */
  isAllowed(fromNowS: number): boolean {
    const most = this.cluster.profile.maximum_lifetime_s;
    return most === null || (fromNowS !== 0 && this.lifetimeFor(fromNowS) <= most);
  }

  protected check(): FieldMessages {
    const { idleTimeout, lifetimeFromNow } = this.form;
    return idleTimeout === '' && lifetimeFromNow === ''
      ? { form: this._trans.__('Choose what to change.') }
      : {};
  }

  protected send(): Promise<Cluster> {
    const { idleTimeout, lifetimeFromNow } = this.form;
    const limits: IClusterModel.ILimits = {};
    if (idleTimeout !== '') {
      limits.idle_timeout_s = Number(idleTimeout);
    }
    if (lifetimeFromNow !== '') {
      limits.lifetime_s = this.lifetimeFor(Number(lifetimeFromNow));
    }
    return this._model.extend(this.cluster.id, limits);
  }
}
