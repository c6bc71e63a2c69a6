// A PLC directory. PLC_DATABASE_URL names a Postgres database; without it, what it knows is lost when
// it stops.
import * as plcPackage from '@did-plc/server'

const { Database, PlcServer } = plcPackage.PlcServer ? plcPackage : plcPackage.default
const url = process.env.PLC_DATABASE_URL
const db = url ? Database.postgres({ url }) : Database.mock()
if (url) await db.migrateToLatestOrThrow()
const server = PlcServer.create({ db, port: 2582 })
await server.start()
console.log(`the directory listens on 2582, ${url ? 'with a database' : 'in memory'}`)
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => server.destroy().then(() => process.exit(0)))
