import { copyIcon, downloadIcon, HTMLSelect, refreshIcon } from '@jupyterlab/ui-components';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { Poll } from '@lumino/polling';
import { OffloadProblem } from '../../api/problem';
import type { LogSource } from '../../api/types';
import { type LogReader, LogTail } from '../../models/logTail';
import { formatBytes } from '../../models/quantities';
import type { IClusterModel } from '../../tokens';
import { useTrans } from '../shared/context';
import { useSignal } from '../shared/hooks';
import { IconButton } from '../shared/IconButton';

/** Nearer to the end than this many pixels, the view follows what is written. */
const FOLLOW_PX = 40;

interface ILogViewProps {
  model: IClusterModel;
  id: string;
  /** The source to begin with; else the scheduler's. */
  first: string | null;
  standby(): boolean | Poll.Standby;
  copy(text: string): void;
}

/** Logs of a cluster: the source, then its end; older pages on request. They are there when the worker is gone. */
export function LogView({ model, id, first, standby, copy }: ILogViewProps): JSX.Element {
  const trans = useTrans();
  useSignal(model.changed);
  const cluster = model.get(id);
  const { sources, error, again } = useSources(model, id, cluster?.revision ?? 0);
  const [chosen, setChosen] = useState<string | null>(first);
  const source =
    sources.find(it => it.name === chosen) ??
    sources.find(it => it.role === 'scheduler') ??
    sources[0];
  const read = useMemo<LogReader>(
    () => (name, offset, limit) => model.readLog(id, name, offset, limit),
    [model, id]
  );
  return (
    <>
      <div className="jp-Offload-logHead" role="toolbar" aria-label={trans.__('Log')}>
        <HTMLSelect
          aria-label={trans.__('Source of the log')}
          value={source?.name ?? ''}
          onChange={event => setChosen(event.target.value)}
        >
          {sources.map(it => (
            <option key={it.name} value={it.name}>
              {`${it.name} (${formatBytes(it.size_bytes)})`}
            </option>
          ))}
        </HTMLSelect>
        <IconButton
          icon={refreshIcon}
          textFrom="never"
          label={trans.__('Look for new logs')}
          onClick={again}
        />
      </div>
      {error && <p className="jp-Offload-fault jp-Offload-logNote">{error.message}</p>}
      {!source && !error && (
        <p className="jp-Offload-dim jp-Offload-logNote">
          {trans.__('No log was written yet. It shows here as soon as there is one.')}
        </p>
      )}
      {source && (
        <Tail key={source.name} source={source} read={read} standby={standby} copy={copy} />
      )}
    </>
  );
}

function useSources(model: IClusterModel, id: string, revision: number) {
  const [sources, setSources] = useState<LogSource[]>([]);
  const [error, setError] = useState<OffloadProblem | null>(null);
  const [count, setCount] = useState(0);
  useEffect(() => {
    let isCurrent = true;
    model.logs(id).then(
      found => {
        if (isCurrent) {
          setSources(found);
          setError(null);
        }
      },
      (reason: unknown) => isCurrent && setError(OffloadProblem.from(reason))
    );
    return () => {
      isCurrent = false;
    };
  }, [model, id, revision, count]);
  return { sources, error, again: () => setCount(it => it + 1) };
}

interface ITailProps {
  source: LogSource;
  read: LogReader;
  standby(): boolean | Poll.Standby;
  copy(text: string): void;
}

function useTail(
  source: string,
  read: LogReader,
  standby: ITailProps['standby']
): LogTail | null {
  const [tail, setTail] = useState<LogTail | null>(null);
  useEffect(() => {
    const made = new LogTail(source, read, { standby });
    setTail(made);
    return () => made.dispose();
  }, [source, read, standby]);
  return tail;
}

function Tail({ source, read, standby, copy }: ITailProps): JSX.Element | null {
  const tail = useTail(source.name, read, standby);
  return tail && <TailText tail={tail} copy={copy} />;
}

function TailText({ tail, copy }: { tail: LogTail; copy(text: string): void }): JSX.Element {
  const trans = useTrans();
  useSignal(tail.changed);
  const box = useRef<HTMLPreElement>(null);
  const [isFollowing, setFollowing] = useState(true);
  const before = useRef({ offset: 0, height: 0 });
  useLayoutEffect(() => {
    const node = box.current;
    if (!node) {
      return;
    }
    if (tail.offset < before.current.offset) {
      node.scrollTop += node.scrollHeight - before.current.height; // older lines came above: stay
    } else if (isFollowing) {
      node.scrollTop = node.scrollHeight;
    }
    before.current = { offset: tail.offset, height: node.scrollHeight };
  });
  const onScroll = () => {
    const node = box.current;
    if (node) {
      setFollowing(node.scrollHeight - node.scrollTop - node.clientHeight < FOLLOW_PX);
    }
  };
  return (
    <>
      <div className="jp-Offload-logTools">
        <label className="jp-Offload-check">
          <input
            type="checkbox"
            checked={isFollowing}
            onChange={event => setFollowing(event.target.checked)}
          />
          {trans.__('Follow')}
        </label>
        {tail.hasOlder && (
          <IconButton
            label={trans.__('Older lines (%1 before)', formatBytes(tail.offset))}
            onClick={() => void tail.older().catch(() => undefined)}
          />
        )}
        <span className="jp-Offload-space" />
        <IconButton icon={copyIcon} label={trans.__('Copy')} onClick={() => copy(tail.text)} />
        <IconButton
          icon={downloadIcon}
          label={trans.__('Download')}
          title={trans.__('Download the whole log')}
          onClick={() =>
            void tail.whole().then(
              text => download(`${tail.source}.log`, text),
              () => download(`${tail.source}.log`, tail.text)
            )
          }
        />
      </div>
      {tail.error && (
        <p className="jp-Offload-fault jp-Offload-logNote">{tail.error.message}</p>
      )}
      <pre
        ref={box}
        className="jp-Offload-logText"
        tabIndex={0}
        role="log"
        aria-label={trans.__('Log of %1', tail.source)}
        aria-live="off"
        onScroll={onScroll}
      >
        {tail.text || (tail.isLoaded ? trans.__('(empty)') : trans.__('Reading…'))}
      </pre>
    </>
  );
}

function download(name: string, text: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/plain' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name;
  link.click();
  URL.revokeObjectURL(url);
}
