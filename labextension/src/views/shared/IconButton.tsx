import { Button, type LabIcon } from '@jupyterlab/ui-components';
import type { ButtonHTMLAttributes } from 'react';

interface IIconButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon?: LabIcon;
  /** What it does: the text where there is room, the accessible name and the tooltip always. */
  label: string;
  /** Whose: part of the accessible name only, such as the name of the cluster. */
  of?: string;
  /** Never show the text. */
  iconOnly?: boolean;
  tone?: 'danger' | 'primary';
}

/** A button of a card or head: icon and text, and only the icon where the place is narrow. */
export function IconButton(props: IIconButtonProps): JSX.Element {
  const { icon: Icon, label, of, iconOnly, tone, className, title, ...rest } = props;
  const classes = ['jp-Offload-button'];
  if (Icon) {
    classes.push(iconOnly ? 'jp-mod-iconOnly' : 'jp-mod-icon');
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
      {!iconOnly && <span className="jp-Offload-buttonText">{label}</span>}
    </Button>
  );
}
