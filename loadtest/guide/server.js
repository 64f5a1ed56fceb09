// A replica as the reader of a guide to scaling builds it, with the guide's own pieces: Express, express-session with
// connect-redis, Mongoose with reads from secondaries, compression, prom-client, and a cache-aside of JSON in Redis. The
// other half of `npm run load:compare`; README.md beside it says what is the same on both sides.
import { argon2, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import compression from 'compression'
import { RedisStore } from 'connect-redis'
import express from 'express'
import session from 'express-session'
import Redis from 'ioredis'
import mongoose from 'mongoose'
import prometheus from 'prom-client'

const { PORT, MONGO_URL, REDIS_URL, SESSION_SECRET } = process.env
const cacheSeconds = 3600

const redis = new Redis(REDIS_URL)
await mongoose.connect(MONGO_URL, {
  maxPoolSize: 50,
  minPoolSize: 10,
  socketTimeoutMS: 45000,
  readPreference: 'secondaryPreferred',
  autoIndex: false,
})

const { ObjectId } = mongoose.Schema.Types
const Restaurant = mongoose.model(
  'Restaurant',
  new mongoose.Schema(
    {
      name: String,
      cuisine: String,
      borough: String,
      address: { building: String, street: String, zipcode: String },
      location: { type: { type: String }, coordinates: [Number] },
      menu: [{ name: String, description: String, category: String, priceCents: Number }],
    },
    { timestamps: true },
  ),
  'restaurants',
)
const User = mongoose.model('User', new mongoose.Schema({ email: String, name: String, passwordHash: String }), 'users')
const orderSchema = new mongoose.Schema(
  {
    userId: { type: ObjectId, ref: 'User', required: true },
    restaurant: { type: ObjectId, ref: 'Restaurant', required: true },
    items: [{ _id: false, menuItemId: ObjectId, name: String, priceCents: Number, quantity: Number }],
    totalCents: Number,
    note: String,
    status: { type: String, default: 'pending' },
    history: [{ _id: false, status: String, at: Date }],
    idempotencyKey: String,
  },
  { timestamps: true },
)
orderSchema.index({ userId: 1, status: 1 })
orderSchema.index({ userId: 1, idempotencyKey: 1 }, { unique: true, sparse: true })
const Order = mongoose.model('Order', orderSchema, 'guide_orders')

prometheus.collectDefaultMetrics()
const httpDuration = new prometheus.Histogram({
  name: 'http_request_duration_seconds',
  help: 'Duration of HTTP requests in seconds',
  labelNames: ['method', 'route', 'status_code'],
  buckets: [0.1, 0.3, 0.5, 0.7, 1, 3, 5, 7, 10],
})

const app = express()
app.use((req, res, next) => {
  const end = httpDuration.startTimer()
  res.on('finish', () => end({ method: req.method, route: req.route?.path ?? req.path, status_code: res.statusCode }))
  next()
})
app.use(compression())
app.use(express.json())
app.use(
  session({
    store: new RedisStore({ client: redis, prefix: 'guide-sess:' }),
    name: 'sid',
    secret: SESSION_SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { httpOnly: true, maxAge: 24 * 60 * 60 * 1000 },
  }),
)

const requireLogin = (req, res, next) => (req.session.userId ? next() : res.status(401).json({ error: 'Log in first' }))

function viewRestaurant(restaurant) {
  const { id, name, cuisine, borough, address, location, menu, createdAt, updatedAt } = restaurant
  const summary = { id, name, cuisine, borough, address, location: location.coordinates, createdAt, updatedAt }
  if (menu === undefined) return summary
  return {
    ...summary,
    menu: menu.map(({ id, name, description, category, priceCents }) => ({
      id,
      name,
      description,
      category,
      priceCents,
    })),
  }
}

function viewOrder(order) {
  const { id, userId, restaurant, items, totalCents, note, status, history, createdAt, updatedAt } = order
  const { id: restaurantId, name } = restaurant
  return {
    ...{ id, userId, restaurant: { id: restaurantId, name } },
    ...{ items, totalCents, note, status, history, createdAt, updatedAt },
  }
}

app.get('/healthz', (_req, res) => res.send('ok'))
app.get('/metrics', async (_req, res) =>
  res.type(prometheus.register.contentType).send(await prometheus.register.metrics()),
)

app.get('/api/restaurants', async (req, res) => {
  const { borough, limit = 20 } = req.query
  const restaurants = await Restaurant.find(borough ? { borough } : {})
    .select('-menu')
    .sort('_id')
    .limit(Number(limit))
  res.json({ items: restaurants.map(viewRestaurant), nextCursor: restaurants.at(-1)?.id ?? null })
})

app.get('/api/restaurants/:id', async (req, res) => {
  const key = `guide-restaurant:${req.params.id}`
  const cached = await redis.get(key)
  if (cached) return res.json(JSON.parse(cached))
  const restaurant = await Restaurant.findById(req.params.id)
  if (!restaurant) return res.status(404).json({ error: 'Not found' })
  const view = viewRestaurant(restaurant)
  await redis.setex(key, cacheSeconds, JSON.stringify(view))
  res.json(view)
})

app.get('/api/orders', requireLogin, async (req, res) => {
  const { limit = 20 } = req.query
  const orders = await Order.find({ userId: req.session.userId })
    .sort('-_id')
    .limit(Number(limit))
    .populate('restaurant', 'name')
  res.json({ items: orders.map(viewOrder), nextCursor: orders.at(-1)?.id ?? null })
})

app.get('/api/orders/:id', requireLogin, async (req, res) => {
  const order = await Order.findOne({ _id: req.params.id, userId: req.session.userId }).populate('restaurant', 'name')
  if (!order) return res.status(404).json({ error: 'Not found' })
  res.json(viewOrder(order))
})

app.post('/api/orders', requireLogin, async (req, res) => {
  const { restaurantId, items, note } = req.body
  const idempotencyKey = req.get('Idempotency-Key')
  const restaurant = await Restaurant.findById(restaurantId)
  if (!restaurant) return res.status(422).json({ error: 'No such restaurant' })
  const lines = items.map(({ menuItemId, quantity }) => {
    const { name, priceCents } = restaurant.menu.id(menuItemId)
    return { menuItemId, name, priceCents, quantity }
  })
  const order = await Order.create({
    userId: req.session.userId,
    restaurant: restaurant._id,
    items: lines,
    totalCents: lines.reduce((sum, { priceCents, quantity }) => sum + priceCents * quantity, 0),
    note,
    history: [{ status: 'pending', at: new Date() }],
    idempotencyKey,
  })
  order.restaurant = restaurant
  res.status(201).json(viewOrder(order))
})

app.post('/api/sessions', async (req, res, next) => {
  const { email, password } = req.body
  const user = await User.findOne({ email })
  if (!user || !(await verify(password, user.passwordHash))) return res.status(401).json({ error: 'Wrong' })
  req.session.regenerate((error) => {
    if (error) return next(error)
    req.session.userId = user.id
    const { id, name } = user
    res.status(201).json({ id: req.session.id, createdAt: new Date(), current: true, user: { id, email, name } })
  })
})

/** The same hash as on the other side. */
async function verify(password, stored) {
  const [, memory, passes, salt, expected] =
    /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=1\$([^$]+)\$([^$]+)$/.exec(stored) ?? []
  if (expected === undefined) return false
  const tag = Buffer.from(expected, 'base64')
  const derived = await promisify(argon2)('argon2id', {
    message: password,
    nonce: Buffer.from(salt, 'base64'),
    parallelism: 1,
    tagLength: tag.length,
    memory: Number(memory),
    passes: Number(passes),
  })
  return timingSafeEqual(tag, derived)
}

await Order.createIndexes()
const server = app.listen(Number(PORT), '127.0.0.1')
for (const event of ['SIGTERM', 'disconnect']) {
  process.on(event, () => {
    server.close()
    process.exit(0)
  })
}
