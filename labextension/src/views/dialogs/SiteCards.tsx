import { useId } from 'react';
import type { Site } from '../../api/types';
import { isUsable } from '../../models/form';
import { readyWords, siteWords } from '../../models/words';
import { useTrans } from '../shared/context';
import { useNow } from '../shared/hooks';
import { SiteFacts } from '../sites/SiteFacts';

interface ISiteCardsProps {
  sites: readonly Site[];
  /** Whether the server has said which there are. */
  isKnown: boolean;
  chosen: string;
  message?: string;
  onChoose(name: string): void;
}

/** Where: one card a site, with the time to ready and what is free in words. Greyed ones say why. */
export function SiteCards(props: ISiteCardsProps): JSX.Element {
  const { sites, isKnown, chosen, message, onChoose } = props;
  const trans = useTrans();
  const now = useNow(5000); // it counts seconds since a site was heard
  const group = useId();
  return (
    <fieldset className="jp-Offload-where">
      <legend>{trans.__('Where')}</legend>
      <div className="jp-Offload-siteCards">
        {sites.map(site => {
          const words = siteWords(site, now, trans);
          return (
            <label key={site.name} className="jp-Offload-siteCard" title={words.title}>
              <input
                type="radio"
                name={group}
                value={site.name}
                checked={site.name === chosen}
                disabled={!isUsable(site)}
                onChange={() => onChoose(site.name)}
              />
              <span className="jp-Offload-siteTitle">{site.title || site.name}</span>
              <span
                className="jp-Offload-siteReady"
                data-health={site.health.state}
                data-known={site.capacity.expected_start_s !== null}
              >
                {readyWords(site, trans)}
              </span>
              <span className="jp-Offload-dim jp-Offload-siteWords">
                {words.text}
                {!isUsable(site) && site.health.hint ? ` ${site.health.hint}` : ''}
              </span>
              <SiteFacts site={site} now={now} />
            </label>
          );
        })}
      </div>
      {sites.length === 0 && (
        <p className={isKnown ? 'jp-Offload-message' : 'jp-Offload-dim'}>
          {isKnown
            ? trans.__('There is no site: an administrator has to declare one.')
            : trans.__('Asking the server.')}
        </p>
      )}
      {message && sites.length > 0 && (
        <p className="jp-Offload-message" role="alert">
          {message}
        </p>
      )}
    </fieldset>
  );
}
