import { type InputHTMLAttributes, type ReactNode, useId } from 'react';

interface IFieldProps {
  label: string;
  /** What is wrong with it. */
  message?: string;
  /** What to know about it. */
  note?: ReactNode;
  /** Gets the attributes that tie label and message to the control. */
  children(tie: ITie): ReactNode;
}

export interface ITie {
  id: string;
  'aria-describedby': string | undefined;
  'aria-invalid': boolean | undefined;
}

/** A labelled control with its note, and its mistake beside it. */
export function Field({ label, message, note, children }: IFieldProps): JSX.Element {
  const id = useId();
  const describedBy = [note ? `${id}-note` : '', message ? `${id}-message` : '']
    .filter(Boolean)
    .join(' ');
  return (
    <>
      <label className="jp-Offload-label" htmlFor={id}>
        {label}
      </label>
      <div className="jp-Offload-control">
        {children({
          id,
          'aria-describedby': describedBy || undefined,
          'aria-invalid': message ? true : undefined
        })}
        {note && (
          <span id={`${id}-note`} className="jp-Offload-dim">
            {note}
          </span>
        )}
        {message && (
          <span id={`${id}-message`} className="jp-Offload-message" role="alert">
            {message}
          </span>
        )}
      </div>
    </>
  );
}

interface ITextProps extends Omit<InputHTMLAttributes<HTMLInputElement>, 'onChange'> {
  onText(text: string): void;
}

/** A text input as Lab has them. */
export function TextInput({ onText, className, ...rest }: ITextProps): JSX.Element {
  return (
    <input
      type="text"
      autoComplete="off"
      spellCheck={false}
      className={`jp-mod-styled ${className ?? ''}`}
      onChange={event => onText(event.target.value)}
      {...rest}
    />
  );
}

/** A whole number. It stays a text, so that a wrong one can be seen and mended. */
export function CountInput({
  limit,
  minimum = 0,
  ...rest
}: ITextProps & { limit: number; minimum?: number }): JSX.Element {
  return (
    <TextInput
      type="number"
      inputMode="numeric"
      step={1}
      min={minimum}
      max={limit}
      className="jp-Offload-count"
      {...rest}
    />
  );
}
