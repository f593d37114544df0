import type { Site } from '../../api/types';
import { acceleratorFree, heardWords } from '../../models/words';
import { useTrans } from '../shared/context';

/** What a site has besides its state: free accelerators, architectures, how long ago it was heard, whether TLS protects it. */
export function SiteFacts({ site, now }: { site: Site; now: Date }): JSX.Element | null {
  const trans = useTrans();
  const heard = heardWords(site, now, trans);
  const { accelerators } = site.capacity;
  if (!accelerators.length && !site.architectures.length && site.encrypted && !heard) {
    return null;
  }
  return (
    <span className="jp-Offload-siteFacts">
      {accelerators.map(it => {
        const words = acceleratorFree(it, trans);
        return (
          <span
            key={`${it.resource} ${it.title}`}
            className="jp-Offload-chip"
            title={words.title}
          >
            {words.text}
          </span>
        );
      })}
      {site.architectures.map(it => (
        <span
          key={it}
          className="jp-Offload-chip"
          title={trans.__('architecture of its nodes')}
        >
          {it}
        </span>
      ))}
      {!site.encrypted && (
        <span
          className="jp-Offload-chip jp-mod-warn"
          title={trans.__('Clients, scheduler and workers there talk without TLS.')}
        >
          {trans.__('not encrypted')}
        </span>
      )}
      {heard && (
        <span className="jp-Offload-dim" title={heard.title}>
          {heard.text}
        </span>
      )}
    </span>
  );
}
