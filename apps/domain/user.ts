export interface User {
  id: string
  email: string
  name: string
  createdAt: Date
}

/** Addresses are compared without case and surrounding blanks. */
export function normalizeEmail(email: string): string {
  return email.trim().toLowerCase()
}
