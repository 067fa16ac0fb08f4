// Who may see the shop's dashboard.
export const USER = 'operator'
export const PASSWORD = 'of the shop'
