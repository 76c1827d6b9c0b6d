/** What the shop sells. Prices in cents; the stock is ample, so that no order fails for want of it. */
export interface Article {
  readonly sku: string;
  readonly priceCents: number;
  readonly initialStock: number;
}

export const catalogue: readonly Article[] = [
  { sku: "anvil", priceCents: 12_900, initialStock: 100_000_000 },
  { sku: "bellows", priceCents: 4_450, initialStock: 100_000_000 },
  { sku: "chisel", priceCents: 1_290, initialStock: 100_000_000 },
  { sku: "drill", priceCents: 8_990, initialStock: 100_000_000 },
  { sku: "engraver", priceCents: 6_250, initialStock: 100_000_000 },
  { sku: "file", priceCents: 790, initialStock: 100_000_000 },
  { sku: "gouge", priceCents: 1_850, initialStock: 100_000_000 },
  { sku: "hammer", priceCents: 2_490, initialStock: 100_000_000 },
];

const bySku: ReadonlyMap<string, Article> = new Map(catalogue.map((article) => [article.sku, article]));

export function articleOf(sku: string): Article | undefined {
  return bySku.get(sku);
}
