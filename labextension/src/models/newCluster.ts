import type { TranslationBundle } from '@jupyterlab/translation';
import { Debouncer } from '@lumino/polling';
import { OffloadProblem } from '../api/problem';
import type { Cluster, Environment, Preview, Profile, Site } from '../api/types';
import type { IClusterModel } from '../tokens';
import {
  checkForm,
  type FieldMessages,
  findProfile,
  type IClusterForm,
  isUsable,
  specOf,
  withProfile
} from './form';
import { FormState } from './formState';

/** Rest after the last key before the server is asked what would be submitted. */
const PREVIEW_DELAY_MS = 300;

/** A notebook that can be attached to the new cluster. */
export interface IAttachOffer {
  /** Name of its file. */
  title: string;
  isOn: boolean;
}

/** The New-cluster dialog without its looks. */
export class NewClusterState extends FormState<IClusterForm, Cluster> {
  constructor(
    private readonly _model: IClusterModel,
    form: IClusterForm,
    private readonly _trans: TranslationBundle,
    private _attach: IAttachOffer | null = null
  ) {
    super(form);
    _model.changed.connect(this._onModel, this);
    void this._readEnvironments();
    void this._debouncer.invoke();
  }

  get sites(): readonly Site[] {
    return this._model.sites;
  }

  get areSitesKnown(): boolean {
    return this._model.areSitesKnown;
  }

  get site(): Site | undefined {
    return this.sites.find(it => it.name === this.form.site);
  }

  /** The most workers that the form asks for. */
  get workersWanted(): number {
    const { form } = this;
    return Number(form.isAdaptive ? form.maximum : form.workers) || 0;
  }

  get profile(): Profile | undefined {
    return findProfile(this.site, this.form.profile);
  }

  /** Null until they are known. */
  get environments(): readonly Environment[] | null {
    return this._environments;
  }

  /** The environment chosen, or the default one. */
  get environment(): Environment | undefined {
    const { environment } = this.form;
    return this._environments?.find(it => (environment ? it.name === environment : it.default));
  }

  /** What would be submitted; null while unknown or wrong. */
  get preview(): Preview | null {
    return this._preview;
  }

  /** The notebook that may be attached; null when there is none. */
  get attach(): IAttachOffer | null {
    return this._attach;
  }

  setAttach(isOn: boolean): void {
    this._attach = this._attach && { ...this._attach, isOn };
    this.emit();
  }

  setSite(name: string): void {
    const site = this.sites.find(it => it.name === name);
    const fits = site?.profiles.some(it => it.name === this.form.profile);
    const image = site?.images.some(it => it.name === this.form.image) ? this.form.image : '';
    this.set(
      withProfile({ ...this.form, site: name, image }, site, fits ? this.form.profile : '')
    );
  }

  setProfile(name: string): void {
    this.set(withProfile({ ...this.form, hasOwnSize: false }, this.site, name));
  }

  dispose(): void {
    this._isDisposed = true;
    this._model.changed.disconnect(this._onModel, this);
    this._debouncer.dispose();
  }

  protected check(): FieldMessages {
    return checkForm(this.form, this.site, this._others(), this._trans);
  }

  protected override onEdit(): void {
    void this._debouncer.invoke();
  }

  protected send(): Promise<Cluster> {
    return this._model.create(specOf(this.form));
  }

  /** Sites may come, or their numbers change, while the dialog is open. */
  private _onModel(): void {
    if (this._shownSites === this.sites) {
      return;
    }
    this._shownSites = this.sites;
    const first = this.sites.find(isUsable);
    if (!this.form.site && first) {
      this.setSite(first.name);
    } else {
      this.emit();
    }
  }

  /** While the request is under way, the card of this very cluster is there already: its name is not taken. */
  private _others(): readonly Cluster[] {
    return this.isBusy ? [] : this._model.clusters;
  }

  private async _readPreview(): Promise<void> {
    const asked = ++this._asked;
    if (this.isBusy || Object.keys(this.check()).length > 0) {
      return;
    }
    let problem: OffloadProblem | null = null;
    let preview: Preview | null = null;
    try {
      preview = await this._model.preview(specOf(this.form));
    } catch (error) {
      problem = OffloadProblem.from(error);
    }
    if (asked !== this._asked || this._isDisposed || this.isBusy) {
      return;
    }
    this._preview = preview;
    if (problem) {
      this.takeMessages(problem);
    } else {
      this.clearMessages();
    }
    this.emit();
  }

  private async _readEnvironments(): Promise<void> {
    try {
      this._environments = await this._model.environments();
    } catch (error) {
      console.debug('Offload: environments could not be listed.', error);
      return;
    }
    const chosen = this._environments.find(it => it.name === this.form.environment);
    if (!this._isDisposed && this.form.environment && !chosen?.usable) {
      this.set({ environment: '' }); // the remembered one is gone
    } else {
      this.emit();
    }
  }

  private _shownSites: readonly Site[] | null = null;
  private _environments: Environment[] | null = null;
  private _preview: Preview | null = null;
  private _asked = 0;
  private _isDisposed = false;
  private readonly _debouncer = new Debouncer(() => this._readPreview(), PREVIEW_DELAY_MS);
}
