import type { FieldProblem, ProblemDocument } from './types';

/** An error of the API: a sentence, the field at fault and the remedy, as the keeper wrote them. */
export class OffloadProblem extends Error {
  constructor(readonly document: ProblemDocument) {
    super(document.detail);
    this.name = 'OffloadProblem';
  }

  /** Stable name, as in the reference of errors. */
  get code(): string {
    return this.document.code;
  }

  get status(): number {
    return this.document.status;
  }

  get field(): string | null {
    return this.document.field ?? null;
  }

  get hint(): string | null {
    return this.document.hint ?? null;
  }

  /** Whether trying again can help. */
  get transient(): boolean {
    return this.document.transient;
  }

  /** All mistakes of the input, one a field; a problem with a single field gives one. */
  get errors(): FieldProblem[] {
    const { errors, field, detail, hint } = this.document;
    if (errors.length > 0) {
      return errors;
    }
    return field ? [{ field, message: detail, hint: hint ?? null }] : [];
  }

  /** A problem that nobody wrote a document for. */
  static of(code: string, detail: string, more: Partial<ProblemDocument> = {}): OffloadProblem {
    return new OffloadProblem({
      type: 'about:blank',
      title: code,
      status: 0,
      field: null,
      hint: null,
      transient: false,
      request_id: null,
      errors: [],
      ...more,
      code,
      detail
    });
  }

  /** Make a problem of whatever was thrown, so that views show one kind of error. */
  static from(error: unknown): OffloadProblem {
    return error instanceof OffloadProblem
      ? error
      : OffloadProblem.of('internal', error instanceof Error ? error.message : String(error));
  }
}
