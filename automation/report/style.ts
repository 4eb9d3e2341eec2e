/** The look of report.html: light and dark, a phone's width, and paper. Named by its hash in the page's policy. */
export const STYLE = `
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --line: #d9d9e0; --page: #fff; --box: #f6f6f8;
  --good: #18794e; --bad: #c62a2f; --wait: #8a5a00; --new: #c2410c; --old: #2563eb; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --soft: #a8adb5; --line: #3a3d42; --page: #111113; --box: #1b1c1f;
  --good: #4cc38a; --bad: #ff6369; --wait: #f1a10d; --new: #fb923c; --old: #60a5fa; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: var(--page); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.35rem; line-height: 1.35; margin: 0 0 .5rem; padding-left: .75rem; border-left: .35rem solid var(--wait); }
h1.promoted, h1.resolved { border-color: var(--good); } h1.rolled-back, h1.stuck { border-color: var(--bad); }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; } h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p, li, td, dd, code, pre, bdi { unicode-bidi: isolate; } .soft { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .5rem 0; } dt { color: var(--soft); } dd { margin: 0; }
code, pre { font: .875em/1.45 ui-monospace, monospace; background: var(--box); border-radius: .25rem; }
code { padding: .1em .3em; } pre { padding: .6rem .8rem; white-space: pre-wrap; margin: .4rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .6rem .3rem 0; border-top: 1px solid var(--line); overflow-wrap: normal; }
td.note { min-width: 14rem; overflow-wrap: anywhere; } th { color: var(--soft); font-weight: 500; border-top: 0; }
.done, .pass, .released { color: var(--good); } .failed, .fail, .error, .changing { color: var(--bad); }
.waiting, .started, .running, .inconclusive { color: var(--wait); }
svg { display: block; width: 100%; height: auto; } svg text { font: 10px system-ui, sans-serif; fill: var(--soft); } svg .end { text-anchor: end; }
svg .axis, svg .mark { stroke: var(--line); } svg .mark { stroke-dasharray: 2 3; }
svg polyline { fill: none; stroke-width: 1.6; } svg polyline.canary { stroke: var(--new); }
svg polyline.baseline { stroke: var(--old); stroke-dasharray: 6 3; } svg circle.canary { fill: var(--new); } svg circle.baseline { fill: var(--old); }
svg polyline.against { stroke: var(--bad); } svg polyline.for { stroke: var(--good); stroke-dasharray: 6 3; }
svg circle.against { fill: var(--bad); } svg circle.for { fill: var(--good); } svg .enough { stroke: var(--soft); stroke-dasharray: 3 3; }
.key-against { color: var(--bad); } .key-for { color: var(--good); }
.key-new { color: var(--new); } .key-old { color: var(--old); }
svg.bar { width: 8rem; height: .7rem; margin-top: .4rem; } svg.bar rect { fill: var(--soft); } svg.bar .track { fill: var(--box); }
svg.bar .done { fill: var(--good); } svg.bar .failed { fill: var(--bad); } svg.bar .waiting, svg.bar .started { fill: var(--wait); }
@media print { body { max-width: none; padding: 0; font-size: 11pt; } h2, h3 { break-after: avoid; } tr, svg { break-inside: avoid; } .wide { overflow: visible; } }
`;
