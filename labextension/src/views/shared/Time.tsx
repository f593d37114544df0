import { exactTime, formatDuration, secondsBetween } from '../../models/quantities';
import { useTrans } from './context';

/** How long something lasts by now, with the exact start in the tooltip. */
export function Elapsed({ since, now }: { since: string; now: Date }): JSX.Element {
  const trans = useTrans();
  return (
    <time
      className="jp-Offload-time"
      dateTime={since}
      title={trans.__('since %1', exactTime(since, trans))}
    >
      {formatDuration(secondsBetween(since, now), trans)}
    </time>
  );
}
