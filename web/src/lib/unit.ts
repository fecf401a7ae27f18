/** Units of metric names whose meaning is common knowledge. A name not listed is shown without a unit, never guessed. */
const units: Record<string, string> = {
  temperature: '°C', temp: '°C', dew_point: '°C', dewpoint: '°C', heat_index: '°C',
  humidity: '%', moisture: '%', soil_moisture: '%', battery: '%', battery_level: '%', soc: '%',
  pressure: 'hPa', co2: 'ppm', tvoc: 'ppb', voc: 'ppb', noise: 'dB', snr: 'dB', rssi: 'dBm',
  pm1: 'µg/m³', pm1_0: 'µg/m³', pm25: 'µg/m³', pm2_5: 'µg/m³', pm10: 'µg/m³',
  illuminance: 'lx', lux: 'lx', voltage: 'V', current: 'A', power: 'W', energy: 'kWh', frequency: 'Hz',
  wind_speed: 'm/s', rain: 'mm', rainfall: 'mm', uptime: 's',
};

export function unitOf(metric: string): string {
  const name = metric.toLowerCase().split('.').pop() ?? '';
  return Object.hasOwn(units, name) ? units[name]! : '';
}
