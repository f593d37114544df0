import { type ISignal, Signal } from '@lumino/signaling';
import { OffloadProblem } from '../api/problem';
import { type FieldMessages, fieldName } from './form';

/** What a dialog holds: the form as typed, what is wrong with it, and the answer of the server. Nothing is lost on error. */
export abstract class FormState<F extends object, R> {
  constructor(form: F) {
    this._form = form;
  }

  get form(): Readonly<F> {
    return this._form;
  }

  get changed(): ISignal<this, void> {
    return this._changed;
  }

  /** What the server said about the whole; mistakes of single fields stand beside them. */
  get problem(): OffloadProblem | null {
    return this._problem;
  }

  get isBusy(): boolean {
    return this._isBusy;
  }

  /** Messages beside fields: what can be told while typing, then what the server said. */
  get messages(): FieldMessages {
    return { ...this._serverMessages, ...this.check() };
  }

  /** Change the form; the server's messages about it are out of date then. */
  set(patch: Partial<F>): void {
    this._form = { ...this._form, ...patch };
    this._serverMessages = {};
    this._problem = null;
    this.onEdit();
    this.emit();
  }

  /** Send the form; null when it is wrong, already under way, or refused. */
  async submit(): Promise<R | null> {
    if (this._isBusy || Object.keys(this.check()).length > 0) {
      this.emit();
      return null;
    }
    this._isBusy = true;
    this._problem = null;
    this.emit();
    try {
      return await this.send();
    } catch (error) {
      const problem = OffloadProblem.from(error);
      this._problem = problem;
      this.takeMessages(problem);
      return null;
    } finally {
      this._isBusy = false;
      this.emit();
    }
  }

  /** What is wrong as far as can be told here. */
  protected abstract check(): FieldMessages;
  protected abstract send(): Promise<R>;

  protected onEdit(): void {
    // for subclasses
  }

  /** Put the server's words beside the fields they speak of. */
  protected takeMessages(problem: OffloadProblem): void {
    this._serverMessages = Object.fromEntries(
      problem.errors.map(it => [
        fieldName(it.field),
        it.hint ? `${it.message} ${it.hint}` : it.message
      ])
    );
  }

  protected clearMessages(): void {
    this._serverMessages = {};
  }

  protected emit(): void {
    this._changed.emit();
  }

  private _form: F;
  private _problem: OffloadProblem | null = null;
  private _serverMessages: FieldMessages = {};
  private _isBusy = false;
  private readonly _changed = new Signal<this, void>(this);
}
