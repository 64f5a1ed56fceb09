import { DomainError, type FieldError } from './errors.ts'
import type { MenuItem } from './restaurant.ts'

export const orderStatuses = [
  'pending',
  'accepted',
  'preparing',
  'ready',
  'delivered',
  'cancelled',
  'rejected',
] as const
export type OrderStatus = (typeof orderStatuses)[number]

/** The statuses a kitchen still has work with. */
export const openOrderStatuses = ['pending', 'accepted', 'preparing', 'ready'] as const satisfies readonly OrderStatus[]

/** What a kitchen may set; `cancelled` belongs to the customer. */
export const kitchenStatuses = [
  'accepted',
  'preparing',
  'ready',
  'delivered',
  'rejected',
] as const satisfies readonly OrderStatus[]
export type KitchenStatus = (typeof kitchenStatuses)[number]

/** The one status from which each status can be reached; an order begins as `pending`. */
const predecessors = {
  accepted: 'pending',
  preparing: 'accepted',
  ready: 'preparing',
  delivered: 'ready',
  cancelled: 'pending',
  rejected: 'pending',
} as const satisfies Record<Exclude<OrderStatus, 'pending'>, OrderStatus>

/** A dish as it was when it was ordered. */
export interface OrderItem {
  menuItemId: string
  name: string
  priceCents: number
  quantity: number
}

export interface OrderEvent {
  status: OrderStatus
  at: Date
}

export interface Order {
  id: string
  userId: string
  restaurant: { id: string; name: string }
  items: OrderItem[]
  totalCents: number
  note: string | undefined
  status: OrderStatus
  history: OrderEvent[]
  createdAt: Date
  updatedAt: Date
}

export interface OrderLine {
  menuItemId: string
  quantity: number
}

export const maxQuantity = 100
export const maxOrderLines = 50

/** The status an order must have for `to` to follow. */
export function statusBefore(to: Exclude<OrderStatus, 'pending'>): OrderStatus {
  return predecessors[to]
}

/**
 * Takes names and prices from the menu. Lines that name the same dish are added up.
 * @throws DomainError `unprocessable` that names every line which is not on the menu or exceeds {@link maxQuantity}
 */
export function priceItems(lines: readonly OrderLine[], menu: readonly MenuItem[]): OrderItem[] {
  const menuById = new Map(menu.map((item) => [item.id, item]))
  const items = new Map<string, OrderItem>()
  const errors: FieldError[] = []
  for (const [index, line] of lines.entries()) {
    const dish = menuById.get(line.menuItemId)
    if (!dish) {
      errors.push({ pointer: `#/items/${index}/menuItemId`, detail: 'is not on the menu of this restaurant' })
      continue
    }
    const quantity = (items.get(dish.id)?.quantity ?? 0) + line.quantity
    if (quantity > maxQuantity) {
      errors.push({ pointer: `#/items/${index}/quantity`, detail: `adds up to more than ${maxQuantity} of this dish` })
      continue
    }
    items.set(dish.id, { menuItemId: dish.id, name: dish.name, priceCents: dish.priceCents, quantity })
  }
  if (errors.length > 0) throw new DomainError('unprocessable', 'Some items cannot be ordered', { errors })
  return [...items.values()]
}

export function totalCents(items: readonly OrderItem[]): number {
  return items.reduce((sum, item) => sum + item.priceCents * item.quantity, 0)
}
