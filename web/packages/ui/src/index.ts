/** What every page is made of; its looks are in `styles.css`. */
export { Panel } from './Panel';
export { SignIn } from './SignIn';
export { Sparkline } from './Sparkline';
export { SplitBar } from './SplitBar';
