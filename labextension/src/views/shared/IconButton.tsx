import { Button, type LabIcon } from '@jupyterlab/ui-components';
import type { ButtonHTMLAttributes } from 'react';

interface IIconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  /** What it does: the text where there is room, the accessible name and the tooltip always. */
  label: string;
  /** Whose: part of the accessible name only, such as the name of the cluster. */
  of?: string;
  icon?: LabIcon;
  /** From which width of the panel on the text stands in for the icon. */
  textFrom?: 'medium' | 'wide' | 'never';
  tone?: 'danger' | 'primary';
}

/** A button of a card or head. With icon and `textFrom` it is the icon in a narrow place and the text in a wide one. */
export function IconButton(props: IIconButtonProps): JSX.Element {
  const { icon: Icon, label, of, textFrom, tone, className, title, ...rest } = props;
  const classes = ['jp-Offload-button'];
  if (textFrom) {
    classes.push(`jp-mod-text-${textFrom}`);
  }
  if (tone) {
    classes.push(`jp-mod-${tone}`);
  }
  if (className) {
    classes.push(className);
  }
  return (
    <Button
      minimal
      small
      type="button"
      className={classes.join(' ')}
      title={title ?? label}
      aria-label={of ? `${label}: ${of}` : label}
      {...rest}
    >
      {Icon && <Icon.react tag="span" className="jp-Offload-buttonIcon" />}
      {textFrom !== 'never' && <span className="jp-Offload-buttonText">{label}</span>}
    </Button>
  );
}
