import { splitMessage } from '../../models/words';
import { useTrans } from './context';

interface IMessageProps {
  text: string;
  /** Said after the first line. */
  hint?: string | null;
}

/** A message in running text: its first line; what follows, such as the end of a log, is folded away. */
export function Message({ text, hint }: IMessageProps): JSX.Element {
  const trans = useTrans();
  const { head, rest } = splitMessage(text);
  return (
    <>
      {hint ? `${head} ${hint}` : head}
      {rest && (
        <details className="jp-Offload-rest">
          <summary>{trans.__('More')}</summary>
          <pre tabIndex={0} role="region" aria-label={head}>
            {rest}
          </pre>
        </details>
      )}
    </>
  );
}
