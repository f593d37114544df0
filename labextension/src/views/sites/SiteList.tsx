import type { Site } from '../../api/types';
import { siteWords } from '../../models/words';
import { useTrans } from '../shared/context';
import { useNow } from '../shared/hooks';
import { SiteFacts } from './SiteFacts';

interface ISiteListProps {
  sites: readonly Site[];
  /** Open the New-cluster dialog for a site. */
  onPick(site: string): void;
}

/** All sites with health and what is free, in words. */
export function SiteList({ sites, onPick }: ISiteListProps): JSX.Element {
  const trans = useTrans();
  const now = useNow(5000); // it counts seconds since a site was heard
  return (
    <ul className="jp-Offload-sites" aria-label={trans.__('Sites')}>
      {sites.map(site => (
        <SiteRow key={site.name} site={site} now={now} onPick={onPick} />
      ))}
    </ul>
  );
}

interface ISiteRowProps {
  site: Site;
  now: Date;
  onPick(site: string): void;
}

function SiteRow({ site, now, onPick }: ISiteRowProps): JSX.Element {
  const trans = useTrans();
  const words = siteWords(site, now, trans);
  const title = site.title || site.name;
  const states = {
    healthy: trans.__('healthy'),
    unhealthy: trans.__('unhealthy'),
    unknown: trans.__('state unknown')
  };
  return (
    <li className="jp-Offload-site" data-health={site.health.state}>
      <span className="jp-Offload-dot" role="img" aria-label={states[site.health.state]} />
      <button
        type="button"
        className="jp-Offload-siteName"
        title={trans.__('New cluster at %1', title)}
        onClick={() => onPick(site.name)}
      >
        {title}
      </button>
      <span className="jp-Offload-dim" title={words.title}>
        {words.text}
      </span>
      <SiteFacts site={site} now={now} />
      {site.health.state !== 'healthy' && site.health.hint && (
        <details className="jp-Offload-siteWhy">
          <summary>{trans.__('Why?')}</summary>
          {`${site.health.message} ${site.health.hint}`}
        </details>
      )}
    </li>
  );
}
